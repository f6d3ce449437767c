"""Fine-tuning: the network in torch, trained by the one loop, handed back as arrays."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from forecast.core.types import FloatArray, Series
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.scaling import standardised
from forecast.models.base.torch.model import TorchModel
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import WindowBatch, Windows
from forecast.models.sprout.context import PATCH, Floats, Integers
from forecast.models.sprout.features import features
from forecast.models.sprout.model import Row, SproutModel, padded, seasons_told, usual_seasons
from forecast.models.sprout.network import from_arrays, loss, tensors_of, to_arrays
from forecast.models.sprout.prepared import prepare
from forecast.models.sprout.spec import SproutConfig
from forecast.models.sprout.tails import LEVELS
from forecast.models.sprout.windows import Windows as SproutWindows
from forecast.models.sprout.windows import in_units_of_the_past

_LEAST_CONTEXT = 2 * PATCH  # steps before the first window of a series, if it has more
_SEASONS = ("season 1", "season 2")


class TunedSprout(TorchModel, SproutModel):
    """Sprout while it learns.

    A forecast is the mean of two, with the seasons of the frequency and with those found; every
    other window is learned from with either.
    """

    config: SproutConfig
    lora_targets = ("patch", "head")  # 2.5 % of the weights at rank 8, and better than attention

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        return from_arrays(self._weights)

    def _after_training(self, network: nn.Module) -> nn.Module:
        plain = super()._after_training(network)
        self._weights = to_arrays(plain)
        return plain

    def _windows(self, series: Sequence[Series]) -> Windows:
        horizon = self.training_horizon
        longest = max(one.length for one in series)
        return Windows(
            [_with_seasons(standardised(one)) for one in series],
            context_length=min(self.max_context, max(longest - horizon, 1)),
            horizon=horizon,
            stride=self.config.stride,
            least_context=min(_LEAST_CONTEXT, self.max_context),
        )

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        windows = _windows_of(batch)
        asked = int((windows.weights.sum(axis=1) > 0).sum())
        return loss(network, tensors_of(windows, self.device)).sum() / max(asked, 1)

    def _calibrate(self, validation: Windows) -> ConformalCalibration:
        return ConformalCalibration.from_windows(
            validation, self._forecast_windows, self.config.batch_size, levels=LEVELS
        )

    def _forecast_windows(self, windows: WindowBatch) -> FloatArray:
        """Forecast a batch of windows: [B, C, Q, H]."""
        batch = Batch.of(windows, torch.device("cpu"))
        past, told = _contexts(batch), _hints(batch).tolist()
        rows = [Row.of(values, hint) for values, hint in zip(past, told, strict=True)]
        horizon = windows.future.shape[-1]
        quantiles = self._quantiles(rows, horizon)
        return quantiles.reshape(*windows.past.shape[:2], len(LEVELS), horizon)


def _with_seasons(series: Series) -> Series:
    """Put the seasons of the frequency beside the values: a window knows no frequency."""
    hint = usual_seasons(series)
    told = {
        name: np.full(series.length, float(season))
        for name, season in zip(_SEASONS, hint, strict=True)
    }
    return replace(series, past_covariates=told, future_covariates={})


def _contexts(batch: Batch) -> Floats:
    """Give each channel of each window as a context [N, T]; one without a value is 0."""
    values = batch.past.numpy().astype(np.float64)
    observed = batch.past_observed.numpy()
    seen = np.where(observed | ~observed.any(axis=-1, keepdims=True), values, np.nan)
    contexts: Floats = seen.reshape(-1, values.shape[-1])
    return contexts


def _hints(batch: Batch) -> Integers:
    """Give the seasons of the frequency of each channel of each window [N, 2]."""
    told = batch.past_covariates[:, :, -1].numpy().astype(np.int64)
    return np.repeat(told, batch.past.shape[1], axis=0)


def _windows_of(batch: Batch) -> SproutWindows:
    """Make the inputs of the network from windows, as a forecast does, and what came after.

    Nothing is asked of a context that never changes, nor of one that ends in a missing step.
    """
    past, future = _contexts(batch), batch.future.flatten(0, 1).numpy().astype(np.float64)
    past[np.isnan(past[:, -1])] = 0
    prepared = prepare(past)
    values, targets, varies = in_units_of_the_past(prepared, future)
    weights = batch.future_observed.flatten(0, 1).numpy() * varies
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    told = seasons_told(_hints(batch), prepared.found)
    count, channels = batch.past.shape[:2]
    is_told = (np.arange(count)[:, None] + np.arange(channels)).reshape(-1, 1) % 2 == 0
    beyond = ((0, 0), (0, -targets.shape[1] % PATCH))
    targets, weights = np.pad(targets, beyond), np.pad(weights, beyond)
    seasons = np.where(is_told, told, prepared.found)
    inputs = features(padded(values), seasons, targets.shape[1])
    return SproutWindows(inputs, targets, weights)
