"""A network from a context of fixed length to a block of fixed length, and all around it."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.buckets import rounded_up
from forecast.models.base.config import TrainingMode
from forecast.models.base.conformal import POINT_LEVELS, ConformalCalibration
from forecast.models.base.distributed import DistributedMixin
from forecast.models.base.lora import LoraMixin
from forecast.models.base.past_errors import with_past_errors
from forecast.models.base.scaling import left_padded, standardisation, standardised
from forecast.models.base.torch_training import Batch
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
    the validation split (`calibration_`), or from those it makes on the past of a request.

    Attributes:
        calibrates_per_channel: whether each channel has offsets of its own; that of a network
            which takes any channels has not.
    """

    calibrates_per_channel: bool = False

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

    def _native_levels(self) -> tuple[float, ...]:
        """Name the levels that the network's own quantiles are calibrated at."""
        return POINT_LEVELS

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
        if self._has_quantiles() or self.calibration_ is not None or not task.quantile_levels:
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
        network_levels = self._network_levels(task)
        steps = self._loaded_shape().context_length
        context = np.stack([left_padded(series.target, steps) for series in batch])
        level, scale = standardisation(context)  # [B, C, 1] each
        standard = torch.from_numpy((context - level) / np.where(scale > 0, scale, 1.0))
        block = self._unroll(standard.float().to(self.device), task.horizon, network_levels)
        means = block.mean.double().cpu().numpy() * scale + level
        quantiles = np.empty((*means.shape[:2], 0, task.horizon))
        if block.quantiles is not None:
            relative = block.quantiles.double().cpu().numpy()
            quantiles = relative * scale[:, :, None] + level[:, :, None]
        return [
            self._calibrated(Forecast(mean, own, network_levels), its_scale[:, 0], task)
            for mean, own, its_scale in zip(means, quantiles, scale, strict=True)
        ]

    def _network_levels(self, task: ForecastTask) -> tuple[float, ...]:
        """Name the levels to ask of a network that answers any."""
        if not self._has_quantiles() or not task.quantile_levels:
            return ()
        calibration = self.calibration_ if task.intervals != "native" else None
        return calibration.levels if calibration else task.quantile_levels

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
            [standardised(one) for one in series],
            context_length=shape.context_length,
            horizon=shape.block,
            stride=self.config.stride,
        )

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        past = filled(batch.past, batch.past_observed)
        mean = self._run(network, past, batch.past_observed).mean
        return mean_where((mean - batch.future).square(), batch.future_observed)

    def _calibrate(self, validation: Windows) -> ConformalCalibration | None:
        levels = self._native_levels() if self._has_quantiles() else None
        return ConformalCalibration.from_windows(
            validation,
            partial(self._forecast_windows, levels=levels or ()),
            self.config.batch_size,
            levels=levels,
            per_channel=self.calibrates_per_channel,
        )

    @torch.inference_mode()
    def _forecast_windows(self, windows: WindowBatch, levels: Sequence[float]) -> FloatArray:
        """Forecast a batch of windows: [B, C, Q, H], or [B, C, 1, H] without levels."""
        batch = Batch.of(windows, torch.device(self.device))
        past = filled(batch.past, batch.past_observed)
        block = self._run(self.network, past, batch.past_observed, levels)
        made = block.mean[:, :, None] if block.quantiles is None else block.quantiles
        answer: FloatArray = made.cpu().numpy()
        return answer


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
