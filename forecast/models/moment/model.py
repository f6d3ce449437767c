"""MOMENT behind the one interface of every model."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from forecast.core.errors import BadData
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.past_errors import with_past_errors
from forecast.models.base.torch.network_model import (
    LONGEST_UNROLL,
    Block,
    Context,
    Lengths,
    NetworkModel,
)
from forecast.models.moment.checkpoint import load_network, read_config, save_network, untrained
from forecast.models.moment.network import (
    FORECASTING,
    RECONSTRUCTION,
    forecast,
    reconstructed,
    with_new_head,
)
from forecast.models.moment.spec import SHORT_HORIZON, SPEC, MomentConfig
from forecast.models.moment.tiny import write_tiny
from forecast.models.spec import Capabilities

HEAD = "head"


class MomentModel(NetworkModel):
    """A published checkpoint, which fills in what is hidden; or one with a forecasting head.

    Channels are forecast each for itself. The network keeps the mean and scale of the batch
    it is at on itself: one thread calls it, as with every model here.

    Attributes:
        checkpoint_: config.json of the network that is loaded.
    """

    spec = SPEC
    config: MomentConfig
    lora_targets = ("q", "v")
    standardizes_windows = False
    most_blocks = LONGEST_UNROLL
    checkpoint_: dict[str, Any]

    @property
    def has_forecasting_head(self) -> bool:
        """Whether the loaded network was trained to forecast, rather than to fill in."""
        return self.model_ is not None and bool(self.checkpoint_["task_name"] == FORECASTING)

    # What is loaded

    @property
    def capabilities(self) -> Capabilities:
        able = super().capabilities
        if self.model_ is None or self.has_forecasting_head:
            return able
        return replace(able, max_horizon=self._loaded_lengths().context // 2)

    def _loaded_lengths(self) -> Lengths:
        steps = int(self.network.seq_len)
        if self.has_forecasting_head:
            return Lengths(steps, int(self.checkpoint_["forecast_horizon"]))
        return Lengths(steps, int(self.network.patch_len))

    def _configured_lengths(self) -> Lengths:
        return Lengths(int(self.network.seq_len), self.config.horizon or SHORT_HORIZON)

    # Forecasting

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        if self.has_forecasting_head:
            return super()._predict(batch, task)
        whole = replace(task, horizon=self.shared_horizon(task.horizon))
        least = self.capabilities.min_context
        forecasts = with_past_errors(batch, whole, self._points, least=least)
        warnings = self._warnings(task.horizon)
        return [
            replace(one.first(task.horizon), warnings=one.warnings + warnings) for one in forecasts
        ]

    def _warnings(self, horizon: int) -> tuple[str, ...]:
        if self.has_forecasting_head:
            return super()._warnings(horizon)
        if horizon <= SHORT_HORIZON:
            return ()
        return (
            f"without a trained forecasting head MOMENT is made for horizons up to"
            f" {SHORT_HORIZON}; fine-tune it for longer ones",
        )

    @torch.inference_mode()
    def _unroll(self, context: Context, horizon: int, levels: Sequence[float]) -> Block:
        if self.has_forecasting_head:
            return super()._unroll(context, horizon, levels)
        return Block(reconstructed(self.network, context.past, context.observed, horizon))

    def _run(
        self,
        network: nn.Module,
        context: Context,
        levels: Sequence[float] = (),  # noqa: ARG002 -- it has none
    ) -> Block:
        return Block(forecast(network, context.past, context.observed))

    # Training

    def _training_lengths(self) -> Lengths:
        return self._configured_lengths()

    def _prepare_training(self, train: Sequence[Series]) -> None:  # noqa: ARG002
        """Train the new head whole beside adapters: its weights mean nothing yet."""
        lora = self.config.lora
        if lora is not None and HEAD not in lora.modules_to_save:
            lora = lora.model_copy(update={"modules_to_save": (*lora.modules_to_save, HEAD)})
            self.config = self.config.model_copy(update={"lora": lora})

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        """Give the loaded network where its head is for this horizon, or else a new head."""
        network: nn.Module = self.network
        horizon = self._training_lengths().block
        if self.has_forecasting_head and self._loaded_lengths().block == horizon:
            return network
        task = {"task_name": FORECASTING, "forecast_horizon": horizon}
        self.checkpoint_ = self.checkpoint_ | task
        new: nn.Module = with_new_head(self.network, self.checkpoint_)
        return new

    def _network_to_train(self, train: Sequence[Series]) -> nn.Module:
        network = super()._network_to_train(train)
        if self.config.tuning == "linear_probe" and self.config.lora is None:
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name.startswith(f"{HEAD}."))
        return network

    def _after_training(self, network: nn.Module) -> nn.Module:
        trained = super()._after_training(network).requires_grad_(True)
        # What was asked of the weights before is no longer what they are.
        self.config = self.config.model_copy(update={"task_name": None})
        return trained

    # Weights

    def _save_model_weights(self, path: Path) -> None:
        save_network(self.network, self.checkpoint_, path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        network, config = load_network(path, torch.device(self.device)), read_config(path)
        self._check_task(config)
        self.model_, self.checkpoint_ = network, config
        self.calibration_ = ConformalCalibration.load(path)

    def _check_task(self, config: dict[str, Any]) -> None:
        asked = self.config.task_name
        if asked == FORECASTING and config["task_name"] == RECONSTRUCTION:
            raise untrained(config)
        if asked == RECONSTRUCTION and config["task_name"] == FORECASTING:
            raise BadData("these weights were trained to forecast; leave task_name out")

    @classmethod
    def tiny(cls, variant: str = RECONSTRUCTION) -> Self:
        """Make a tiny checkpoint with one of the two heads."""
        with tempfile.TemporaryDirectory() as folder:
            write_tiny(Path(folder), variant)
            return cls.load_model(Path(folder), device="cpu")
