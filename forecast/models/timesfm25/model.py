"""TimesFM 2.5 (Das et al. 2024, arXiv:2310.10688) through the `timesfm` package."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import save_file
from timesfm import ForecastConfig
from torch import nn

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
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import context_bucket, in_buckets, rounded_up
from forecast.models.timesfm25.layout import read_tensors, to_native
from forecast.models.timesfm25.network import Network, build
from forecast.models.timesfm25.port import port_of
from forecast.models.timesfm25.spec import (
    BLOCK,
    CONTEXT_LIMIT,
    LONGEST_QUANTILE_HEAD,
    PATCH,
    SPEC,
    TimesFM25Options,
)
from forecast.models.timesfm25.tiny import write_tiny

WEIGHTS_FILE = "model.safetensors"
MEDIAN = 5  # of the ten heads: mean, then the nine deciles
DECILES = tuple(decile / 10 for decile in range(1, 10))


class TimesFM25Model(TunedTimesFM):
    """Forecasts with the nine deciles; covariates by a regression per series.

    The package's own network forecasts; its port to `transformers` is what is trained.
    """

    spec = SPEC

    def shared_horizon(self, horizon: int) -> int:
        """128 steps are made at once, and those before do not depend on those after."""
        return rounded_up(horizon, BLOCK)

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        check_regression(series, _options(task), self._steps(task), PATCH)

    def _steps(self, task: ForecastTask) -> int:
        """Count the past steps that fit the network's window beside the horizon."""
        window = CONTEXT_LIMIT - rounded_up(task.horizon, BLOCK)
        return min(window, self.max_context, task.context_length or window)

    def _predict_native(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        options = _options(task)
        observed = [observed_part(series.last(self._steps(task))) for series in batch]
        decode = partial(self._decode_above_zero, task.horizon, options)
        heads = forecast_with_covariates(observed, task.horizon, options, decode)
        return [
            Forecast(
                mean=each[None, :, 0],
                quantiles=each.T[None, 1:],
                quantile_levels=DECILES,
                warnings=(
                    *_head_warnings(task.horizon, options),
                    *spread_warnings(series),
                    *left_out(constant_covariates(series)),
                ),
            )
            for series, each in zip(batch, heads, strict=True)
        ]

    def _decode_above_zero(
        self, horizon: int, options: TimesFM25Options, targets: Sequence[FloatArray], backcast: bool
    ) -> list[Decoded]:
        """Forecast targets [T]; where one is never below zero, neither is its forecast, if asked.

        The package checks its input, so the input is standardised here.
        """
        decode = partial(self._decode, horizon, options)
        answers = standardised_decode(decode, targets, backcast)
        return [
            answer._replace(heads=np.maximum(answer.heads, 0))
            if options.infer_is_positive and target.min() >= 0
            else answer
            for answer, target in zip(answers, targets, strict=True)
        ]

    def _decode(
        self, horizon: int, options: TimesFM25Options, targets: Sequence[FloatArray], backcast: bool
    ) -> list[Decoded]:
        """Run the network on targets [T], each in the bucket of its own length."""
        window = CONTEXT_LIMIT - rounded_up(horizon, BLOCK)
        forecaster = Network(self.network)

        def call(some: list[FloatArray], context: int) -> list[Decoded]:
            config = _compiled_for(context, horizon, options, backcast)
            with torch.inference_mode():
                answers = forecaster.run(some, horizon, config)
            return [
                Decoded(answer[-horizon:], _backcast(answer[:-horizon], target))
                for answer, target in zip(answers, some, strict=True)
            ]

        return in_buckets(
            targets,
            lambda target: context_bucket(len(target), PATCH, window),
            call,
            self.config.batch_size,
        )

    def _window_options(self) -> TimesFM25Options:
        return TimesFM25Options(infer_is_positive=False)  # windows are standardised

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        network: nn.Module = port_of(self.network.state_dict())
        return network

    def _after_training(self, network: nn.Module) -> nn.Module:
        trained = super()._after_training(network)
        native: nn.Module = build(to_native(trained.state_dict()), torch.device(self.device))
        return native

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Mirror half of the windows, because forecasts average a series with its mirror image."""
        return super()._training_loss(network, mirrored(batch) if network.training else batch)

    def _heads(self, network: Any, pasts: Sequence[torch.Tensor], context: int) -> torch.Tensor:
        heads: torch.Tensor = network(
            past_values=pasts,
            forecast_context_len=context,
            truncate_negative=False,
            force_flip_invariance=False,
        ).full_predictions
        return heads

    def _save_model_weights(self, path: Path) -> None:
        save_file(self.network.state_dict(), path / WEIGHTS_FILE)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self.model_ = build(read_tensors(path), torch.device(self.device))
        self.calibration_ = ConformalCalibration.load(path)

    @classmethod
    def tiny(cls) -> Self:
        with tempfile.TemporaryDirectory() as folder:
            write_tiny(Path(folder))
            return cls.load_model(Path(folder), device="cpu")


def mirrored(batch: Batch) -> Batch:
    """Change the sign of about half of the windows, drawn at random."""
    sign = 2.0 * torch.randint(2, (len(batch.past), 1, 1), device=batch.past.device) - 1.0
    return replace(batch, past=sign * batch.past, future=sign * batch.future)


def _compiled_for(
    context: int, horizon: int, options: TimesFM25Options, backcast: bool
) -> ForecastConfig:
    """Describe a call; its cost is that of the whole context and horizon named here."""
    horizon = rounded_up(horizon, BLOCK)
    return ForecastConfig(
        max_context=context,
        max_horizon=horizon,
        normalize_inputs=True,
        use_continuous_quantile_head=_uses_head(horizon, options),
        force_flip_invariance=options.force_flip_invariance,
        infer_is_positive=False,  # of standardised targets it would say nothing
        fix_quantile_crossing=True,
        return_backcast=backcast,
    )


def _uses_head(horizon: int, options: TimesFM25Options) -> bool:
    return options.use_continuous_quantile_head and horizon <= LONGEST_QUANTILE_HEAD


def _head_warnings(horizon: int, options: TimesFM25Options) -> tuple[str, ...]:
    if _uses_head(horizon, options) or not options.use_continuous_quantile_head:
        return ()
    return (
        f"the quantile head reaches {LONGEST_QUANTILE_HEAD} steps; for this longer horizon all"
        " quantiles are the point head's",
    )


def _backcast(past: FloatArray, target: FloatArray) -> FloatArray:
    """Take the medians of the past steps after the first patch: [T - 32], or [0]."""
    known = min(max(len(target) - PATCH, 0), len(past))
    return past[len(past) - known :, MEDIAN]


def _options(task: ForecastTask) -> TimesFM25Options:
    options = TimesFM25Options() if task.options is None else task.options
    assert isinstance(options, TimesFM25Options)
    return options
