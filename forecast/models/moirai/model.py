"""Moirai 1, Moirai-MoE and Moirai 2 behind the one interface of every model."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from torch import nn

from forecast.core.errors import InvalidRequest, ModelNotReady, NotTrainable
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.scaling import standardised
from forecast.models.base.torch.model import TunedModel
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import Windows, rounded_up
from forecast.models.moirai.checkpoint import load_network
from forecast.models.moirai.network import MOST_TOKENS, Network
from forecast.models.moirai.quantiles import QuantileNetwork
from forecast.models.moirai.spec import SPEC, MoiraiConfig, MoiraiOptions
from forecast.models.moirai.tiny import write_tiny
from forecast.models.spec import Capabilities

TRAINING_CONTEXT = 512


class MoiraiModel(TunedModel):
    """Whichever kind of Moirai the checkpoint's config.json says it is."""

    spec = SPEC
    config: MoiraiConfig
    lora_targets = r".*self_attn\.(q_proj|k_proj|v_proj|out_proj)"  # not the top out_proj
    _kind: Network | None = None

    @property
    def kind(self) -> Network:
        """The loaded checkpoint, with what its kind can do.

        Raises:
            ModelNotReady: none is loaded.
        """
        if self._kind is None:
            raise ModelNotReady("this model holds no weights; load a checkpoint first")
        return self._kind

    # Forecasting

    @property
    def capabilities(self) -> Capabilities:
        if self._kind is None:
            return self.spec.capabilities
        return replace(self.spec.capabilities, future_covariates=self._kind.reads_ahead)

    def shared_horizon(self, horizon: int) -> int:
        return rounded_up(horizon, self.kind.shared_block)

    def check(self, series: Series, task: ForecastTask) -> None:
        self._check_known_ahead(series, task)
        super().check(series, task)
        self._check_options(task)
        tokens = self.kind.tokens_of(series.last(self._steps(task)), task)
        if tokens > MOST_TOKENS:
            raise InvalidRequest(
                f"series {series.item_id!r}, with its channels, covariates and horizon, makes"
                f" {tokens} patches and this model takes {MOST_TOKENS}; lower context_length, or"
                " send fewer channels together"
            )

    def _check_known_ahead(self, series: Series, task: ForecastTask) -> None:
        """Refuse future values that would have no effect, and name what has one."""
        names = sorted(series.future_covariates)
        if not names or self.kind.reads_ahead or getattr(task.options, "ignore_covariates", False):
            return
        raise InvalidRequest(
            f"this checkpoint reads from left to right, so the future values of"
            f" {', '.join(names)} of series {series.item_id!r} would have no effect: send the"
            " past values only, load a Moirai 1 checkpoint, use another model with"
            " future_covariates, such as chronos with amazon/chronos-2, or set"
            " model_options.ignore_covariates"
        )

    def _check_options(self, task: ForecastTask) -> None:
        asked = task.options.patch_size if isinstance(task.options, MoiraiOptions) else None
        if asked is None or asked in self.kind.patch_sizes:
            return
        there = ", ".join(map(str, self.kind.patch_sizes))
        raise InvalidRequest.field(
            "/parameters/model_options/patch_size",
            f"the checkpoint that is loaded has {there or 'one only, and no choice'}",
        )

    def _predict_native(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        # Not inference_mode: the network keeps its table of positions, also for training.
        with torch.no_grad():
            return self.kind.predict(batch, task, self.config.batch_size)

    def _own_levels(self) -> tuple[float, ...]:
        return self.kind.levels if isinstance(self.kind, QuantileNetwork) else ()

    # Training

    @property
    def _decoder(self) -> QuantileNetwork:
        """The loaded checkpoint, of the one kind that is trained here.

        Raises:
            NotTrainable: it is of another kind.
        """
        if not isinstance(self.kind, QuantileNetwork):
            raise NotTrainable("only Moirai 2 can be fine-tuned here; load a checkpoint of it")
        return self.kind

    def _prepare_training(self, train: Sequence[Series]) -> None:  # noqa: ARG002
        block = self._decoder.block
        if (self.config.horizon or 1) > block:
            raise InvalidRequest.field(
                "/horizon", f"the network forecasts {block} steps at once; train at most those"
            )

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        network: nn.Module = self.network
        return network

    @property
    def training_horizon(self) -> int:
        return self.config.horizon or self._decoder.block

    def _windows(self, series: Sequence[Series]) -> Windows:
        return Windows(
            [standardised(one) for one in series],
            context_length=min(self.config.context_length or TRAINING_CONTEXT, self.max_context),
            horizon=self.training_horizon,
            stride=self.config.stride,
        )

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        return self._decoder.training_loss(network, batch)

    def _after_training(self, network: nn.Module) -> nn.Module:
        trained = super()._after_training(network)
        self._kind = QuantileNetwork(trained.eval(), torch.device(self.device))
        return trained

    # Weights

    def _save_model_weights(self, path: Path) -> None:
        self.network.save_pretrained(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self._kind = load_network(path, torch.device(self.device))
        self.model_ = self._kind.module
        self.calibration_ = ConformalCalibration.load(path)

    @classmethod
    def tiny(cls, variant: str = "moirai2") -> Self:
        """Make a tiny checkpoint of one of the three kinds."""
        with tempfile.TemporaryDirectory() as folder:
            write_tiny(Path(folder), variant)
            return cls.load_model(Path(folder), device="cpu")
