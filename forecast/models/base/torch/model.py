"""A model whose network is trained by the one loop, and calibrated on the validation split."""

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from forecast.core.errors import BadData, ModelNotReady
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.config import ModelOptions, TrainingConfig
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.quantiles import at_levels
from forecast.models.base.saved import OnProgress, TrainingResult
from forecast.models.base.scaling import Scaler
from forecast.models.base.torch.checkpoints import CheckpointFolder
from forecast.models.base.torch.device import resolve_device, seeded, use_threads
from forecast.models.base.torch.lora import merged, with_adapters
from forecast.models.base.torch.parallel import strategy_for
from forecast.models.base.torch.training import Batch, Optimization, Training
from forecast.models.base.windows import WindowBatch, Windows

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


class TorchModel(BaseTimeSeriesModel):
    """Adds training to a family: it names the network, the windows and the loss.

    Attributes:
        lora_targets: the layers that get an adapter where the configuration names none: names of
            modules, whole or their last parts, or one regular expression for the whole name.
        model_: the network, in eval mode on `device`.
        calibration_: errors of the network on the validation split; None after a training
            without one.
    """

    chooses_by_validation = True
    lora_targets: tuple[str, ...] | str = r".*"
    config: TrainingConfig
    model_: Any = None
    calibration_: ConformalCalibration | None = None

    def _find_device(self) -> str:
        return str(resolve_device(self.config.device))

    def use_cores(self, count: int) -> None:
        use_threads(count)

    @property
    def network(self) -> Any:
        """The loaded or trained network.

        Raises:
            ModelNotReady: there is none yet.
        """
        if self.model_ is None:
            raise ModelNotReady("this model holds no weights; load a checkpoint or train it first")
        return self.model_

    # What a family writes

    @abstractmethod
    def _training_network(self, train: Sequence[Series]) -> nn.Module:
        """Return the network to train: a new one, or the loaded one, of which a copy is tuned."""

    @abstractmethod
    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch, a scalar.

        Only call the network: it may be wrapped, and then lacks the attributes of the plain one.
        """

    @abstractmethod
    def _windows(self, series: Sequence[Series]) -> Windows:
        """Cut series into windows of the context and horizon that are trained for."""

    # What a family may refine

    @property
    def is_calibrated(self) -> bool:
        return self.calibration_ is not None or super().is_calibrated

    def _calibrate(self, validation: Windows) -> ConformalCalibration | None:  # noqa: ARG002
        """Measure the trained network on the validation windows; None where it is not done.

        Raises:
            BadData: the windows hold no error to learn from.
        """
        return None

    def _prepare_training(self, train: Sequence[Series]) -> None:
        """Learn what is not a weight, such as the scale of each channel."""

    def _before_training(self, network: nn.Module) -> nn.Module:
        """Put adapters beside the layers of a network, if the configuration asks for them."""
        lora = self.config.lora
        return network if lora is None else with_adapters(network, lora, self.lora_targets)

    def _after_training(self, network: nn.Module) -> nn.Module:
        """Turn the trained network into the one that forecasts."""
        return network if self.config.lora is None else merged(network)

    def _optimization(self, network: nn.Module) -> Optimization:
        """Choose what takes the steps of a training."""
        return Optimization(network, self.config)

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,
        on_progress: OnProgress,
        checkpoints: Path | None,
    ) -> TrainingResult:
        kept = CheckpointFolder(checkpoints, self.kept_checkpoints) if checkpoints else None
        with strategy_for(self.config, self.device, with_checkpoints=kept is not None) as strategy:
            self.device = str(strategy.device)
            self._prepare_training(train)
            windows = self._windows(train)
            with seeded(self.config.seed, torch.device("cpu")):
                network = self._before_training(self._network_to_train(train))
            wrapped = strategy.wrap(network)
            held_out = self._validation_windows(validation) if validation else None
            training = Training(
                wrapped,
                self._training_loss,
                self.config,
                validation=held_out,
                checkpoints=kept,
                optimization=strategy.optimization() or self._optimization(wrapped),
            )
            result = training.run(windows, on_progress, self._length)
            self.model_ = self._after_training(strategy.unwrap(wrapped)).eval()
            self.calibration_ = self._calibration_on(held_out)
        return result

    def _network_to_train(self, train: Sequence[Series]) -> nn.Module:
        """Return a network that may be changed: if this fails, the loaded one is as before."""
        network = self._training_network(train)
        return (deepcopy(network) if network is self.model_ else network).to(self.device)

    def _validation_windows(self, validation: Sequence[Series]) -> Windows | None:
        """Cut validation windows; none of their futures begins in what was trained on."""
        return self._from_first_step(self._windows(validation))

    def _from_first_step(self, windows: Windows) -> Windows | None:
        if self._first_validation_steps:
            windows = windows.with_futures_from(self._first_validation_steps)
        return windows if len(windows) else None

    def _calibration_on(self, validation: Windows | None) -> ConformalCalibration | None:
        try:
            return self._calibrate(validation) if validation is not None else None
        except BadData:  # nothing in the validation series ever changes
            return None

    def _calibrated(self, forecast: Forecast, scale: FloatArray, task: ForecastTask) -> Forecast:
        """Calibrate a forecast, if the model was trained with a validation split.

        Args:
            forecast: with the network's own quantiles, or with none at all.
            scale: [C], standard deviations of the contexts.
        """
        calibration = self.calibration_
        if calibration is None or not task.quantile_levels:
            return forecast
        if calibration.kind == "point":
            return calibration.around(forecast.mean, scale, task.quantile_levels)
        if task.intervals == "native":
            return replace(forecast, intervals="native")
        return calibration.adjust(forecast, scale)

    def _save_calibration(self, path: Path) -> None:
        if self.calibration_ is not None:
            self.calibration_.save(path)


class TunedModel(TorchModel):
    """A published checkpoint whose own quantiles are calibrated once it is fine-tuned.

    The quantiles of a checkpoint as its authors publish it stay as they are.
    """

    @abstractmethod
    def _predict_native(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast as `_predict` does, with the network's own quantiles."""

    @abstractmethod
    def _own_levels(self) -> tuple[float, ...]:
        """Return the quantile levels of the network; empty where it is not to be calibrated."""

    def _window_options(self) -> ModelOptions:
        """Return the options that validation windows are forecast with."""
        return self.spec.options()

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        forecasts = self._predict_native(batch, task)
        return [
            self._calibrated(forecast, Scaler.of(series.target).scale[:, 0], task)
            for series, forecast in zip(batch, forecasts, strict=True)
        ]

    def _calibrate(self, validation: Windows) -> ConformalCalibration | None:
        levels = self._own_levels()
        if not levels:
            return None
        return ConformalCalibration.from_windows(
            validation,
            partial(self._forecast_windows, levels=levels),
            self.config.batch_size,
            levels=levels,
        )

    def _forecast_windows(self, windows: WindowBatch, levels: tuple[float, ...]) -> FloatArray:
        """Forecast a batch of windows: [B, C, Q, H]."""
        task = ForecastTask(windows.future.shape[-1], levels, options=self._window_options())
        forecasts = self._predict_native(_series_of(windows), task)
        return np.stack([at_levels(one, levels).quantiles for one in forecasts])


def load_weights(network: AnyNetwork, file: Path, shaping: Sequence[str]) -> AnyNetwork:
    """Read all weights of a network from a safetensors file, and put it in eval mode.

    Args:
        shaping: the options that shape the network, named if the weights do not fit it.

    Raises:
        BadData: the file is missing, damaged or of another network.
    """
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadData(f"the weights hold no readable {file.name}") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadData(
            f"the weights do not fit the options; {', '.join(shaping)} must be those they were"
            " trained with"
        ) from error
    return network.eval()


def _series_of(windows: WindowBatch) -> list[Series]:
    """Make a series of each context, from its first observed step on.

    Covariates are numbered, known ones last, as families name them for training.
    """
    targets = np.where(windows.past_observed, windows.past, np.nan).astype(float)
    count, known = windows.past_covariates.shape[1], windows.future_covariates.shape[1]
    numbers = [f"{number:04}" for number in range(count)]
    series = []
    for row, target in enumerate(targets):
        begin = int(np.isfinite(target).any(axis=0).argmax())
        past = windows.past_covariates[row, :, begin:].astype(float)
        future = windows.future_covariates[row].astype(float)
        series.append(
            Series(
                target[:, begin:],
                past_covariates=dict(zip(numbers, past, strict=True)),
                future_covariates=dict(zip(numbers[count - known :], future, strict=True)),
            )
        )
    return series
