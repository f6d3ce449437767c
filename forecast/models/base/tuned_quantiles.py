"""Calibration of fine-tuned networks that have quantiles of their own."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

import numpy as np

from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.config import ModelOptions
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.quantiles import at_levels
from forecast.models.base.scaling import Scaling
from forecast.models.base.torch_model import TorchModel
from forecast.models.base.windows import WindowBatch, Windows


class TunedQuantiles(TorchModel):
    """Moves the quantiles of a fine-tuned network by its errors on the validation split.

    A checkpoint as its authors publish it keeps its own quantiles.
    """

    # What a family writes

    @abstractmethod
    def _predict_native(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast as `_predict` does, with the network's own quantiles."""

    @abstractmethod
    def _own_levels(self) -> tuple[float, ...]:
        """Name the levels of the network; empty where it is not to be calibrated."""

    def _window_options(self) -> ModelOptions:
        """Choose the options that validation windows are forecast with."""
        return self.spec.options()

    # What follows

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        forecasts = self._predict_native(batch, task)
        return [
            self._calibrated(forecast, Scaling.of(series.target).scale[:, 0], task)
            for series, forecast in zip(batch, forecasts, strict=True)
        ]

    def _calibrate(self, validation: Windows) -> ConformalCalibration | None:
        levels = self._own_levels()
        if not levels:
            return None
        try:
            return ConformalCalibration.from_windows(
                validation,
                partial(self._forecast_windows, levels=levels),
                self.config.batch_size,
                levels=levels,
            )
        except BadData:  # nothing in the validation series ever changes
            return None

    def _forecast_windows(self, windows: WindowBatch, levels: tuple[float, ...]) -> FloatArray:
        """Forecast a batch of windows: [B, C, Q, H]."""
        task = ForecastTask(windows.future.shape[-1], levels, options=self._window_options())
        forecasts = self._predict_native(_series_of(windows), task)
        return np.stack([at_levels(one, levels).quantiles for one in forecasts])


def _series_of(windows: WindowBatch) -> list[Series]:
    """Make a series of each context, from its first observed step on.

    Covariates are numbered, those known ahead last, as families name them for training.
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
