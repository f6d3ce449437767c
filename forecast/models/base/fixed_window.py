"""A network from a context of fixed length to a block of fixed length, and all around it."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.buckets import rounded_up
from forecast.models.base.calibration import LearnedErrors, scale_of
from forecast.models.base.config import TrainingMode
from forecast.models.base.distributed import DistributedMixin
from forecast.models.base.lora import LoraMixin
from forecast.models.base.past_errors import with_past_errors
from forecast.models.base.torch_training import Batch
from forecast.models.base.training import OnProgress, TrainingResult
from forecast.models.base.windows import WindowBatch, Windows
from forecast.models.spec import Capabilities

LONGEST_UNROLL = 16
"""Most blocks that are forecast one after the other, each from the ones before."""


class Shape(NamedTuple):
    """Steps that a network reads, and steps that it forecasts at once."""

    context_length: int
    block: int


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What a network says of the steps after a context.

    Attributes:
        mean: [B, C, H].
        quantiles: [B, C, Q, H] at the levels asked for; None where the network has none.
    """

    mean: torch.Tensor
    quantiles: torch.Tensor | None = None


class FixedWindowModel(DistributedMixin, LoraMixin):
    """Adds to a network of fixed lengths what makes it forecast any series.

    Each channel is standardised by its own context, so its unit does not matter. A shorter
    context is padded at the start. A longer horizon is forecast block by block, each from the
    means before it. Quantiles that the network does not have come from the errors it made on
    the validation series (`errors_`), or from those it makes on the past of a request.

    Attributes:
        errors_: how far off the network was on the validation series, relative to the
            standard deviation of the context; None where there were none.
        errors_per_channel: whether each channel has errors of its own; that of a network
            which takes any channels has not.
    """

    errors_: LearnedErrors | None = None
    errors_per_channel: bool = False

    # What a family writes

    @abstractmethod
    def _loaded_shape(self) -> Shape:
        """Name the lengths of the network that is loaded."""

    @abstractmethod
    def _configured_shape(self) -> Shape:
        """Name the lengths of a network that is to be made."""

    @abstractmethod
    def _run(
        self,
        network: nn.Module,
        past: torch.Tensor,
        observed: torch.Tensor,
        levels: Sequence[float] = (),
    ) -> Block:
        """Run a network on contexts [B, C, T] of float32 without gaps (`filled`)."""

    # What a family may refine

    def _has_quantiles(self) -> bool:
        """Whether the network itself says how sure it is."""
        return False

    # Forecasting

    @property
    def capabilities(self) -> Capabilities:
        if self.model_ is None:
            return self.spec.capabilities
        shape = self._loaded_shape()
        return replace(
            self.spec.capabilities,
            max_context=shape.context_length,
            max_horizon=LONGEST_UNROLL * shape.block,
            quantiles="native" if self._has_quantiles() else "calibrated",
        )

    def shared_horizon(self, horizon: int) -> int:
        return rounded_up(horizon, self._loaded_shape().block)

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        warnings = self._warnings(task.horizon)
        if self._has_quantiles() or self.errors_ is not None or not task.quantile_levels:
            forecasts = self._forecast(batch, task)
        else:
            block = self._loaded_shape().block
            forecasts = with_past_errors(batch, task, self._points, block=block)
        return [replace(one, warnings=one.warnings + warnings) for one in forecasts]

    def _warnings(self, horizon: int) -> tuple[str, ...]:
        block = self._loaded_shape().block
        if horizon <= block:
            return ()
        return (
            f"steps after {block} are forecast from the forecast itself;"
            " their quantiles are less reliable",
        )

    def _points(self, batch: Sequence[Series], horizon: int) -> list[FloatArray]:
        task = ForecastTask(horizon, quantile_levels=())
        return [forecast.mean for forecast in self._forecast(batch, task)]

    def _forecast(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        size = self.config.batch_size
        return [
            forecast
            for first in range(0, len(batch), size)
            for forecast in self._forecast_together(batch[first : first + size], task)
        ]

    def _forecast_together(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast series of equally many channels in one call."""
        network_levels = task.quantile_levels if self._has_quantiles() else ()
        steps = self._loaded_shape().context_length
        context = np.stack([_left_padded(series.target, steps) for series in batch])
        level, scale = standardisation(context)  # [B, C, 1] each
        standard = torch.from_numpy((context - level) / np.where(scale > 0, scale, 1.0))
        block = self._unroll(standard.float().to(self.device), task.horizon, network_levels)
        mean = block.mean.double().cpu().numpy() * scale + level
        if block.quantiles is not None:
            spread = block.quantiles.double().cpu().numpy() * scale[:, :, None] + level[:, :, None]
            return [
                Forecast(one, around, tuple(network_levels))
                for one, around in zip(mean, spread, strict=True)
            ]
        return [
            self._with_learned_errors(one, its_scale[:, 0], task.quantile_levels)
            for one, its_scale in zip(mean, scale, strict=True)
        ]

    def _with_learned_errors(
        self, mean: FloatArray, scale: FloatArray, levels: tuple[float, ...]
    ) -> Forecast:
        if not levels or self.errors_ is None:
            channels, horizon = mean.shape
            return Forecast(mean, np.empty((channels, 0, horizon)), ())
        return self.errors_.forecast(mean, scale, levels)

    @torch.inference_mode()
    def _unroll(self, context: torch.Tensor, horizon: int, levels: Sequence[float]) -> Block:
        """Forecast block by block: contexts [B, C, T], NaN where nothing is observed."""
        observed = ~context.isnan()
        past = context.nan_to_num()
        blocks: list[Block] = []
        while sum(one.mean.shape[-1] for one in blocks) < horizon:
            block = self._run(self.network, filled(past, observed), observed, levels)
            blocks.append(block)
            steps = past.shape[-1]
            past = torch.cat([past, block.mean], dim=-1)[..., -steps:]
            known = torch.ones_like(block.mean, dtype=torch.bool)
            observed = torch.cat([observed, known], dim=-1)[..., -steps:]
        mean = torch.cat([one.mean for one in blocks], dim=-1)[..., :horizon]
        parts = [one.quantiles for one in blocks if one.quantiles is not None]
        return Block(mean, torch.cat(parts, dim=-1)[..., :horizon] if parts else None)

    # Training

    def _training_shape(self) -> Shape:
        is_new = self.config.training_mode is TrainingMode.FROM_SCRATCH
        return self._configured_shape() if is_new else self._loaded_shape()

    @property
    def training_horizon(self) -> int:
        return self._training_shape().block

    def _windows(self, series: Sequence[Series]) -> Windows:
        shape = self._training_shape()
        return Windows(
            [_standardised(one) for one in series],
            context_length=shape.context_length,
            horizon=shape.block,
            stride=self.config.stride,
        )

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        past = filled(batch.past, batch.past_observed)
        mean = self._run(network, past, batch.past_observed).mean
        return mean_where((mean - batch.future).square(), batch.future_observed)

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,
        on_progress: OnProgress,
        checkpoints: Path | None,
    ) -> TrainingResult:
        result = super()._fit(train, validation, on_progress, checkpoints)
        self.errors_ = self._learn_errors(validation)
        return result

    def _learn_errors(self, validation: Sequence[Series] | None) -> LearnedErrors | None:
        if not validation or self._has_quantiles():
            return None
        windows = self._validation_windows(validation)
        if windows is None:
            return None
        try:
            return LearnedErrors.from_windows(
                windows,
                self._point_of_windows,
                self.config.batch_size,
                per_channel=self.errors_per_channel,
            )
        except BadData:  # nothing in the validation series ever changes
            return None

    @torch.inference_mode()
    def _point_of_windows(self, windows: WindowBatch) -> FloatArray:
        batch = Batch.of(windows, torch.device(self.device))
        past = filled(batch.past, batch.past_observed)
        mean: FloatArray = self._run(self.network, past, batch.past_observed).mean.cpu().numpy()
        return mean


def filled(past: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Fill gaps: with the last observed value, or before the first with the observed mean.

    Args:
        past: [..., T], whatever where nothing is observed.
        observed: [..., T] bool.
    """
    kept = torch.where(observed, past, 0.0)
    mean = kept.sum(dim=-1, keepdim=True) / observed.sum(dim=-1, keepdim=True).clamp_min(1)
    steps = torch.arange(past.shape[-1], device=past.device)
    last = torch.where(observed, steps, -1).cummax(dim=-1).values
    return torch.where(last >= 0, kept.gather(-1, last.clamp_min(0)), mean)


def mean_where(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average what is observed."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)


def standardisation(target: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Measure mean and standard deviation of what is observed: [..., T] → [..., 1] each.

    A row whose values differ by no more than rounding has a standard deviation of 0.
    """
    count = np.maximum((~np.isnan(target)).sum(axis=-1, keepdims=True), 1)
    level = np.nansum(target, axis=-1, keepdims=True) / count
    scale = scale_of(target - level)[..., None]
    flat = scale <= 1e-12 * np.abs(level)
    return level, np.where(flat, 0.0, scale)


def _standardised(series: Series) -> Series:
    level, scale = standardisation(series.target)
    return replace(series, target=(series.target - level) / np.where(scale > 0, scale, 1.0))


def _left_padded(target: FloatArray, steps: int) -> FloatArray:
    """Pad [C, T] with NaN at the start, to so many steps."""
    lacking = steps - target.shape[1]
    return np.pad(target, ((0, 0), (lacking, 0)), constant_values=np.nan)
