"""TimesFM 2.0 (Das et al. 2024, arXiv:2310.10688) through its port to `transformers`."""

import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn

from forecast.core.errors import InvalidRequest
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.checks import constant_covariates, left_out
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.regression import (
    Decoded,
    check_regression,
    forecast_with_covariates,
    observed_part,
    standardised_decode,
)
from forecast.models.base.scaling import spread_warnings
from forecast.models.base.torch.timesfm import TunedTimesFM
from forecast.models.base.windows import Windows, context_bucket, in_buckets, rounded_up
from forecast.models.spec import Capabilities
from forecast.models.timesfm20.frequency import HIGH, frequency_class
from forecast.models.timesfm20.network import load, run
from forecast.models.timesfm20.spec import SPEC, TimesFM20Options
from forecast.models.timesfm20.tiny import write_tiny

MEAN = 0  # of the ten heads: mean, then the nine deciles


class _Known(NamedTuple):
    """A complete target [T] and the class of its frequency."""

    target: torch.Tensor
    frequency: int


class TimesFM20Model(TunedTimesFM):
    """Forecasts with the nine deciles; covariates by a regression per series."""

    spec = SPEC
    _trained_class = HIGH  # of the frequency of the series that are learned from

    @property
    def capabilities(self) -> Capabilities:
        if self.model_ is None:
            return self.spec.capabilities
        return replace(self.spec.capabilities, max_context=self.network.config.context_length)

    def shared_horizon(self, horizon: int) -> int:
        """A block is made at once, and those before do not depend on those after."""
        return rounded_up(horizon, self.network.config.horizon_length)

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        steps = min(self.max_context, task.context_length or self.max_context)
        check_regression(series, _options(task), steps, self.network.config.patch_length)

    def _predict_native(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        options = _options(task)
        observed = [observed_part(series) for series in batch]
        classes = [_class(series, options) for series in batch]
        decode = partial(standardised_decode, partial(self._decode, task.horizon, classes))
        heads = forecast_with_covariates(observed, task.horizon, options, decode)
        return [
            self._answer(series, each, options) for series, each in zip(batch, heads, strict=True)
        ]

    def _answer(self, series: Series, heads: FloatArray, options: TimesFM20Options) -> Forecast:
        """Read the heads [H, K] of one series."""
        if options.truncate_negative and np.nanmin(series.target) >= 0:
            heads = np.maximum(heads, 0)
        return Forecast(
            mean=heads[None, :, MEAN],
            quantiles=heads.T[None, 1:],
            quantile_levels=tuple(self.network.config.quantiles),
            warnings=spread_warnings(series) + left_out(constant_covariates(series)),
        )

    def _decode(
        self, horizon: int, classes: Sequence[int], targets: Sequence[FloatArray], backcast: bool
    ) -> list[Decoded]:
        """Forecast targets [T] block by block, each in the bucket of its own length."""
        device = self.network.device
        known = [
            _Known(torch.as_tensor(target, dtype=torch.float32, device=device), frequency)
            for target, frequency in zip(targets, classes, strict=True)
        ]
        blocks, past = self._block(known, backcast)
        parts = [blocks]
        for _ in range(1, rounded_up(horizon, blocks.shape[1]) // blocks.shape[1]):
            known = [
                each._replace(target=torch.cat([each.target, block[:, MEAN]]))
                for each, block in zip(known, parts[-1], strict=True)
            ]
            parts.append(self._block(known, False)[0])
        heads = torch.cat(parts, dim=1)[:, :horizon].cpu().numpy()
        return [Decoded(each, before) for each, before in zip(heads, past, strict=True)]

    def _block(
        self, known: Sequence[_Known], backcast: bool
    ) -> tuple[torch.Tensor, list[FloatArray]]:
        """Forecast the next block: heads [N, 128, K], and N backcasts [T - 32] or [0]."""
        size = self.network.config.horizon_length

        def call(some: list[_Known], context: int) -> list[torch.Tensor]:
            targets, classes = zip(*some, strict=True)
            return list(run(self.network, targets, classes, context, backcast))

        answers = in_buckets(known, self._bucket, call, self.config.batch_size)
        blocks = torch.stack([answer[-size:] for answer in answers])
        return blocks, [
            self._backcast(answer[:-size, MEAN], len(each.target))
            for answer, each in zip(answers, known, strict=True)
        ]

    def _bucket(self, known: _Known) -> int:
        config = self.network.config
        return context_bucket(len(known.target), config.patch_length, config.context_length)

    def _backcast(self, past: torch.Tensor, steps: int) -> FloatArray:
        """Take what is said of the steps after the first patch."""
        count = min(max(steps - self.network.config.patch_length, 0), len(past))
        answer: FloatArray = past[len(past) - count :].cpu().numpy()
        return answer

    def _window_options(self) -> TimesFM20Options:
        return TimesFM20Options(frequency_input=self._trained_class)

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        network: nn.Module = deepcopy(self.network).requires_grad_(True)
        return network

    def _after_training(self, network: nn.Module) -> nn.Module:
        return super()._after_training(network).requires_grad_(False)

    def _windows(self, series: Sequence[Series]) -> Windows:
        classes = {frequency_class(one.freq) for one in series}
        if len(classes) > 1:
            raise InvalidRequest(
                "the series to learn from are of different classes of frequency (up to daily,"
                " weekly and monthly, slower); train on those of one class"
            )
        (self._trained_class,) = classes
        return super()._windows(series)

    def _heads(self, network: Any, pasts: Sequence[torch.Tensor], context: int) -> torch.Tensor:
        heads: torch.Tensor = network(
            past_values=pasts,
            freq=[self._trained_class] * len(pasts),
            forecast_context_len=context,
            truncate_negative=False,
        ).full_predictions
        return heads

    def _save_model_weights(self, path: Path) -> None:
        self.network.save_pretrained(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self.model_ = load(path, torch.device(self.device))
        self.calibration_ = ConformalCalibration.load(path)

    @classmethod
    def tiny(cls) -> Self:
        with tempfile.TemporaryDirectory() as folder:
            write_tiny(Path(folder))
            return cls.load_model(Path(folder), device="cpu")


def _class(series: Series, options: TimesFM20Options) -> int:
    if options.frequency_input == "auto":
        return frequency_class(series.freq)
    return options.frequency_input


def _options(task: ForecastTask) -> TimesFM20Options:
    options = TimesFM20Options() if task.options is None else task.options
    assert isinstance(options, TimesFM20Options)
    return options
