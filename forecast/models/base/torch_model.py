"""A model that is a torch network, trained by the one loop."""

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forecast.core.errors import BadData, ModelNotReady
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.checkpoints import CheckpointFolder
from forecast.models.base.config import TrainingConfig
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.optimization import Optimization
from forecast.models.base.randomness import seeded
from forecast.models.base.torch_device import resolve_device, use_threads
from forecast.models.base.torch_training import Batch, Training
from forecast.models.base.training import OnProgress, TrainingResult
from forecast.models.base.windows import Windows


class TorchModel(BaseTimeSeriesModel):
    """Adds training to a family: it names the network, the windows and the loss.

    `model_` is the network, in eval mode on `device`. Mixins wrap it for the time of a
    training through `_before_training` and `_after_training`; each calls `super()` first on
    the way in, and last on the way out.

    Attributes:
        calibration_: how far off the network was on the validation split; None after a
            training without one.
    """

    chooses_by_validation = True
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
        """Give the network to train: a new one, or the loaded one, of which a copy is tuned."""

    @abstractmethod
    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Run the network, as it is given, on a batch; the mean loss, a scalar.

        The network is called and nothing else: it may be wrapped, and a wrapped one need not
        have the attributes of the one inside.
        """

    @abstractmethod
    def _windows(self, series: Sequence[Series]) -> Windows:
        """Cut series into windows of the context and horizon that are trained for."""

    # What a family or a mixin may refine

    @property
    def is_calibrated(self) -> bool:
        return self.calibration_ is not None or super().is_calibrated

    def _calibrate(self, validation: Windows) -> ConformalCalibration | None:  # noqa: ARG002
        """Measure the trained network on the validation windows; None where it is not done.

        Raises:
            BadData: they tell nothing.
        """
        return None

    def _prepare_training(self, train: Sequence[Series]) -> None:
        """Learn what is not a weight, such as the scale of each channel."""

    def _before_training(self, network: nn.Module) -> nn.Module:
        """Wrap the network for training."""
        return network

    def _after_training(self, network: nn.Module) -> nn.Module:
        """Give back the plain network, trained."""
        return network

    def _optimization(self, network: nn.Module) -> Optimization:
        """Choose what takes the steps of a training, of the network as it is wrapped."""
        return Optimization(network, self.config)

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,
        on_progress: OnProgress,
        checkpoints: Path | None,
    ) -> TrainingResult:
        self._prepare_training(train)
        windows = self._windows(train)
        with seeded(self.config.seed, torch.device("cpu")):
            network = self._before_training(self._network_to_train(train))
        held_back = self._validation_windows(validation) if validation else None
        training = Training(
            network,
            self._training_loss,
            self.config,
            validation=held_back,
            checkpoints=self._folder_for(checkpoints),
            optimization=self._optimization(network),
        )
        result = training.run(windows, on_progress, self._length)
        self.model_ = self._after_training(network).eval()
        self.calibration_ = self._calibration_on(held_back)
        return result

    def _calibration_on(self, validation: Windows | None) -> ConformalCalibration | None:
        try:
            return self._calibrate(validation) if validation is not None else None
        except BadData:  # nothing in the validation series ever changes
            return None

    def _validation_windows(self, validation: Sequence[Series]) -> Windows | None:
        """Cut validation windows; none of their futures begins in what was trained on."""
        return self._held_back(self._windows(validation))

    def _held_back(self, windows: Windows) -> Windows | None:
        if self._first_validation_steps:
            windows = windows.with_futures_from(self._first_validation_steps)
        return windows if len(windows) else None

    def _calibrated(self, forecast: Forecast, scale: FloatArray, task: ForecastTask) -> Forecast:
        """Calibrate a forecast, where the validation split told how.

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

    def _folder_for(self, checkpoints: Path | None) -> CheckpointFolder | None:
        return CheckpointFolder(checkpoints, self.kept_checkpoints) if checkpoints else None

    def _network_to_train(self, train: Sequence[Series]) -> nn.Module:
        """Give a network that may be changed: the loaded one stays what it is if this fails."""
        network = self._training_network(train)
        return (deepcopy(network) if network is self.model_ else network).to(self.device)
