"""TinyTimeMixers r1, r2 and r3 behind the one interface of every model."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import nn

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.buckets import rounded_up
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.features import FEATURES_FILE, Features
from forecast.models.base.fixed_window import Block, FixedWindowModel, Shape
from forecast.models.base.model import options_of
from forecast.models.base.torch_training import Batch
from forecast.models.base.training import OnProgress, TrainingResult
from forecast.models.base.windows import WindowBatch, Windows
from forecast.models.spec import Capabilities
from forecast.models.ttm.checkpoint import load_network
from forecast.models.ttm.contexts import Contexts, frequency_token, windows_of
from forecast.models.ttm.mixing import NEW_MODULES, with_mixing
from forecast.models.ttm.network import Beside, mixes_channels, quantile_levels, run
from forecast.models.ttm.spec import SPEC, TTMConfig
from forecast.models.ttm.tiny import write_tiny
from forecast.models.ttm.training import Reading, freeze_backbone, loss_of
from forecast.models.ttm.unrolling import unroll


class TTMModel(FixedWindowModel):
    """Whichever TinyTimeMixer the checkpoint's config.json says it is.

    A published checkpoint forecasts every channel on its own. Fine-tuned with covariates, or
    with `mix_channels`, it has the channels and covariates of `features_` and no others.
    """

    spec = SPEC
    config: TTMConfig
    features_: Features | None = None
    _token: int = 0  # frequency of the series that are trained on

    # What is loaded

    @property
    def capabilities(self) -> Capabilities:
        able = super().capabilities
        if self.model_ is None:
            return able
        features = self.features_
        return replace(
            able,
            # Quantiles from forecasts of the series' own past need as much past before it.
            max_context=able.max_context * (2 if self._tries_the_past() else 1),
            past_covariates=features is not None and bool(features.covariates),
            future_covariates=features is not None and bool(features.known_ahead),
        )

    def _tries_the_past(self) -> bool:
        return not self._has_quantiles() and self.calibration_ is None

    def _has_quantiles(self) -> bool:
        return self.model_ is not None and bool(self._levels())

    def _levels(self) -> tuple[float, ...]:
        return quantile_levels(self.network.config)

    def _mixes(self) -> bool:
        return self.features_ is not None or mixes_channels(self.network.config)

    def _loaded_shape(self) -> Shape:
        config = self.network.config
        block = config.prediction_filter_length or config.prediction_length
        return Shape(config.context_length, block)

    def _configured_shape(self) -> Shape:
        return self._loaded_shape()  # a network is never made from nothing here

    # Forecasting

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        if self.features_ is not None:
            ignores = task.options is not None and options_of(task).ignore_covariates
            self.features_.check(series, ignore_covariates=ignores)
        else:
            self._check_channels(series)

    def _check_channels(self, series: Series) -> None:
        own = self.network.config.num_input_channels
        if self._mixes() and series.num_channels != own:
            raise InvalidRequest(
                f"series {series.item_id!r} has {series.num_channels} channels; this checkpoint"
                f" was trained on {own} together"
            )

    @torch.inference_mode()
    def _forecast_together(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        shape = self._loaded_shape()
        whole = rounded_up(task.horizon, shape.block)
        contexts = Contexts.of(batch, shape.context_length, whole, self.features_)
        rows = contexts if self._mixes() else contexts.apart()
        call = partial(self._run, self.network)
        answer = unroll(call, rows, shape.block, torch.device(self.device))
        mean, quantiles = contexts.restored(answer, task.horizon)
        levels = () if quantiles is None else self._levels()
        around = np.empty((*mean.shape[:2], 0, task.horizon)) if quantiles is None else quantiles
        return [
            self._calibrated(Forecast(one, own, levels), scale[:, 0], task)
            for one, own, scale in zip(mean, around, contexts.scale, strict=True)
        ]

    def _run(
        self,
        network: nn.Module,
        past: torch.Tensor,
        observed: torch.Tensor,
        levels: Sequence[float] = (),  # noqa: ARG002 -- it has its own
        *,
        beside: Beside | None = None,
    ) -> Block:
        return run(network, past, observed, beside or Beside())

    # Training

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,
        on_progress: OnProgress,
        checkpoints: Path | None,
    ) -> TrainingResult:
        before = self.model_, self.features_, self.calibrates_per_channel
        try:
            newest = [self._newest(one) for one in train]
            return super()._fit(newest, validation, on_progress, checkpoints)
        except BaseException:  # what is loaded goes on as it was
            self.model_, self.features_, self.calibrates_per_channel = before
            raise

    def _newest(self, series: Series) -> Series:
        shape = self._loaded_shape()
        share = ceil(series.length * self.config.few_shot)
        return series.last(max(share, shape.context_length + shape.block))

    def _prepare_training(self, train: Sequence[Series]) -> None:
        self._token = self._shared_token(train)
        if self.features_ is not None:
            self.features_.check_training(train)
        elif self._mixes():
            self._check_channels(train[0])
        elif train[0].past_covariates or self.config.known_ahead or self.config.mix_channels:
            self.features_ = Features.of(train, self.config.known_ahead)
            self._train_new_modules_whole()
        self.calibrates_per_channel = self._mixes()

    def _shared_token(self, train: Sequence[Series]) -> int:
        tokens = {frequency_token(one) for one in train}
        if self.network.config.resolution_prefix_tuning and len(tokens) > 1:
            raise InvalidRequest(
                "this checkpoint reads the frequency of a series; fine-tune it on series of one"
                " frequency at a time"
            )
        return tokens.pop()

    def _train_new_modules_whole(self) -> None:
        """Adapters change weights that mean something; those of new modules do not yet."""
        lora = self.config.lora
        if lora is not None:
            whole = tuple(dict.fromkeys((*lora.modules_to_save, *NEW_MODULES)))
            lora = lora.model_copy(update={"modules_to_save": whole})
            self.config = self.config.model_copy(update={"lora": lora})

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        network: nn.Module = self.network
        if self.features_ is not None and not mixes_channels(self.network.config):
            network = with_mixing(self.network, self.features_)
        return network

    def _network_to_train(self, train: Sequence[Series]) -> nn.Module:
        network = super()._network_to_train(train)
        if self.config.tuning == "linear_probe":
            freeze_backbone(network)
        return network

    def _after_training(self, network: nn.Module) -> nn.Module:
        return super()._after_training(network).requires_grad_(True)

    def _windows(self, series: Sequence[Series]) -> Windows:
        return windows_of(series, self._loaded_shape(), self.features_, self.config.stride)

    def _reading(self) -> Reading:
        return Reading(self._mixes(), self.features_, self._token)

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        answer = self._reading().run(network, batch)
        return loss_of(answer, batch, self._levels(), self.network.config.loss)

    def _native_levels(self) -> tuple[float, ...]:
        return self._levels()

    @torch.inference_mode()
    def _forecast_windows(
        self,
        windows: WindowBatch,
        levels: Sequence[float] = (),  # noqa: ARG002 -- it has its own
    ) -> FloatArray:
        block = self._reading().run(self.network, Batch.of(windows, torch.device(self.device)))
        made = block.mean[:, :, None] if block.quantiles is None else block.quantiles
        answer: FloatArray = made.cpu().numpy()
        return answer

    # Weights

    def _save_model_weights(self, path: Path) -> None:
        self.network.save_pretrained(path)
        if self.features_ is not None:
            self.features_.write(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        network = load_network(path, torch.device(self.device))
        features = Features.read(path) if (path / FEATURES_FILE).exists() else None
        _check_features(network.config.prediction_channel_indices, features)
        self.model_, self.features_ = network, features
        self.calibration_ = ConformalCalibration.load(path)

    @classmethod
    def tiny(cls, variant: str = "r2") -> Self:
        """Make a tiny checkpoint of one of the kinds."""
        with tempfile.TemporaryDirectory() as folder:
            write_tiny(Path(folder), variant)
            return cls.load_model(Path(folder), device="cpu")


def _check_features(predicted: list[int] | None, features: Features | None) -> None:
    """Refuse a network that reads covariates whose names and scales are not known.

    Args:
        predicted: numbers of the channels that the network forecasts; None for all it reads.
    """
    if predicted is not None and features is None:
        raise BadData(
            f"the checkpoint was fine-tuned with covariates elsewhere, and holds no"
            f" {FEATURES_FILE} that names them; fine-tune its base model here"
        )
    if features is not None and predicted != list(range(features.num_channels)):
        raise BadData(f"the checkpoint's config.json and its {FEATURES_FILE} do not fit")
