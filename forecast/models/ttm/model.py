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
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.features import FEATURES_FILE, Features
from forecast.models.base.saved import OnProgress, TrainingResult
from forecast.models.base.torch.network_model import (
    LONGEST_UNROLL,
    Block,
    Context,
    Lengths,
    NetworkModel,
)
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import rounded_up
from forecast.models.spec import Capabilities
from forecast.models.ttm.checkpoint import load_network
from forecast.models.ttm.contexts import Contexts, frequency_token
from forecast.models.ttm.mixing import NEW_MODULES, with_mixing
from forecast.models.ttm.network import Beside, mixes_channels, quantile_levels, run
from forecast.models.ttm.spec import SPEC, TTMConfig
from forecast.models.ttm.tiny import write_tiny
from forecast.models.ttm.training import freeze_backbone, in_windows, loss_of, rows_of
from forecast.models.ttm.unrolling import unroll


class TTMModel(NetworkModel):
    """Whichever TinyTimeMixer the checkpoint's config.json says it is.

    A published checkpoint forecasts every channel on its own. Fine-tuned with covariates, or
    with `mix_channels`, it has the channels and covariates of `features` and no others.
    """

    spec = SPEC
    config: TTMConfig
    most_blocks = LONGEST_UNROLL
    _token: int = 0  # frequency of the series that are trained on

    # What is loaded

    @property
    def capabilities(self) -> Capabilities:
        able = super().capabilities
        if self.model_ is None:
            return able
        return replace(
            able,
            # Quantiles from forecasts of the series' own past need as much past before it.
            max_context=able.max_context * (2 if self._tries_the_past() else 1),
            past_covariates=able.past_covariates and self.features is not None,
            future_covariates=able.future_covariates and self.features is not None,
        )

    def _tries_the_past(self) -> bool:
        return not self._own_levels() and self.calibration_ is None

    def _own_levels(self) -> tuple[float, ...]:
        return quantile_levels(self.network.config) if self.model_ is not None else ()

    def _mixes(self) -> bool:
        return self.features is not None or mixes_channels(self.network.config)

    def _loaded_lengths(self) -> Lengths:
        config = self.network.config
        block = config.prediction_filter_length or config.prediction_length
        return Lengths(config.context_length, block)

    # Forecasting

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        if self.features is None:
            self._check_channels(series)

    def _check_channels(self, series: Series) -> None:
        own = self.network.config.num_input_channels
        if self._mixes() and series.num_channels != own:
            raise InvalidRequest(
                f"series {series.item_id!r} has {series.num_channels} channels; this checkpoint"
                f" was trained on {own} together"
            )

    def _readable(self, series: Series, history: Series) -> Series:  # noqa: ARG002
        return self.features.with_training_scales(series) if self.features else series

    @torch.inference_mode()
    def _forecast_together(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        lengths = self._loaded_lengths()
        whole = rounded_up(task.horizon, lengths.block)
        contexts = Contexts.of(batch, lengths.context, whole, self.features)
        rows = contexts if self._mixes() else contexts.apart()
        answer = unroll(partial(run, self.network), rows, lengths.block, torch.device(self.device))
        mean, quantiles = contexts.restored(answer, task.horizon)
        levels = () if quantiles is None else self._own_levels()
        around = np.empty((*mean.shape[:2], 0, task.horizon)) if quantiles is None else quantiles
        return [
            self._calibrated(Forecast(one, own, levels), scale[:, 0], task)
            for one, own, scale in zip(mean, around, contexts.scaler.scale, strict=True)
        ]

    def _run(
        self,
        network: nn.Module,
        context: Context,
        levels: Sequence[float] = (),  # noqa: ARG002 -- it has its own
    ) -> Block:
        rows, observed = rows_of(context, self.features, together=self._mixes())
        ahead = context.future_covariates if context.future_covariates.shape[1] else None
        frequency = torch.full((len(rows),), self._token, device=rows.device)
        channels = context.past.shape[1]
        answer = run(network, rows, observed, Beside(ahead, channels, frequency))
        return in_windows(answer, context.past.shape[:2])

    # Training

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,
        on_progress: OnProgress,
        checkpoints: Path | None,
    ) -> TrainingResult:
        newest = [self._newest(one) for one in train]
        return super()._fit(newest, validation, on_progress, checkpoints)

    def _newest(self, series: Series) -> Series:
        share = ceil(series.length * self.config.few_shot)
        return series.last(max(share, sum(self._loaded_lengths())))

    def _prepare_training(self, train: Sequence[Series]) -> None:
        self._token = self._shared_token(train)
        if self.features is not None:
            self.features.check_training(train)
        elif self._mixes():
            self._check_channels(train[0])
        elif train[0].past_covariates or self.config.known_ahead or self.config.mix_channels:
            self.features = Features.of(train, self.config.known_ahead)
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
        if self.features is not None and not mixes_channels(self.network.config):
            network = with_mixing(self.network, self.features)
        return network

    def _network_to_train(self, train: Sequence[Series]) -> nn.Module:
        network = super()._network_to_train(train)
        if self.config.tuning == "linear_probe":
            freeze_backbone(network)
        return network

    def _after_training(self, network: nn.Module) -> nn.Module:
        return super()._after_training(network).requires_grad_(True)

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        answer = self._run_windows(network, batch)
        return loss_of(answer, batch, self._own_levels(), self.network.config.loss)

    # Weights

    def _save_model_weights(self, path: Path) -> None:
        self.network.save_pretrained(path)
        if self.features is not None:
            self.features.write(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        network = load_network(path, torch.device(self.device))
        features = Features.read(path) if (path / FEATURES_FILE).exists() else None
        _check_features(network.config.prediction_channel_indices, features)
        self.model_, self.features = network, features
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
