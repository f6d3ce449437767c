"""A family whose network reads a window relative to its own level and answers it all at once.

Each channel is scaled by the mean and the standard deviation of its own context, and the
answer is scaled back (reversible instance normalisation, Kim et al. 2022): a series that is
moved or stretched gets a forecast that is moved and stretched with it, whatever its unit.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.config import DirectConfig, TrainingMode
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.features import Features, Scale
from forecast.models.base.fixed_window import filled
from forecast.models.base.quantiles import at_levels
from forecast.models.base.scaling import FLAT, Scaling, left_padded, spread_warnings
from forecast.models.base.torch_model import TorchModel
from forecast.models.base.torch_training import Batch
from forecast.models.base.windows import WindowBatch, Windows
from forecast.models.spec import Capabilities


class Level(NamedTuple):
    """Mean and standard deviation, [B, C, 1], of what is observed of each context."""

    center: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, past: torch.Tensor, observed: torch.Tensor) -> "Level":
        """Measure [B, C, T]; the scale is 0 where values differ by no more than rounding."""
        count = observed.sum(dim=-1, keepdim=True).clamp(min=1)
        center = (past * observed).sum(dim=-1, keepdim=True) / count
        off = (past - center) * observed
        unit = off.abs().amax(dim=-1, keepdim=True)  # squares of 1e-300 would be 0
        squares = (off / unit.where(unit > 0, 1.0)) ** 2
        scale = unit * (squares.sum(dim=-1, keepdim=True) / count).sqrt()
        flat = scale <= max(FLAT, 8 * torch.finfo(past.dtype).eps) * center.abs()
        return cls(center, scale.masked_fill(flat, 0.0))

    def apply(self, past: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Scale [B, C, T]; a gap gets the last value before it, padding and a flat one 0."""
        scale = self.scale.where(self.scale > 0, 1.0)
        return ((filled(past, observed) - self.center) / scale).float()

    def restore(self, relative: torch.Tensor) -> torch.Tensor:
        """Scale an answer [B, C, H, O] back."""
        return relative * self.scale[..., None] + self.center[..., None]


class DirectModel(TorchModel):
    """Answers [B, C, H, 1 + Q]: the mean, and quantiles at the trained levels.

    The mean learns from squared errors, the quantiles from the pinball loss, and one network
    gives both. Its `forward` takes

        past: [B, C, T], relative to its own level; 0 where nothing is known.
        past_covariates: [B, K, T], in the order of their names.
        future_covariates: [B, F, H], in the order of `features.known_ahead`.
    """

    config: DirectConfig
    features = Features()

    # What a family writes

    @abstractmethod
    def _new_network(self) -> nn.Module:
        """Build the network that the configuration and the features ask for."""

    def _measure(self, train: Sequence[Series]) -> None:
        """Learn names and scales from the training series."""
        # The network needs no scale of a target: it reads each relative to itself.
        measured = Features.of(train, self._known_ahead)
        identity = (Scale(),) * measured.num_channels
        self.features = measured.model_copy(update={"targets": identity})

    @property
    def _known_ahead(self) -> tuple[str, ...]:
        """Name covariates known for the future, beside those that come with future values."""
        return ()

    def _prepare(self, series: Series, task: ForecastTask) -> tuple[Series, tuple[str, ...]]:
        newest, warnings = super()._prepare(series, task)
        return self._known(self.features.with_own_scales(newest, series)), warnings

    def _known(self, series: Series) -> Series:
        """Add to a series, of which covariates are standardised, what else is read of it."""
        return series

    # Forecasting

    @property
    def capabilities(self) -> Capabilities:
        """What the family can do, less what this network was not trained for."""
        able = self.spec.capabilities
        return replace(
            able,
            multivariate=able.multivariate and self.features.num_channels > 1,
            past_covariates=able.past_covariates and bool(self.features.covariates),
            future_covariates=able.future_covariates and bool(self.features.known_ahead),
            max_horizon=self.config.horizon,
        )

    def shared_horizon(self, horizon: int) -> int:
        """All steps are made at once, whatever number is asked."""
        return max(horizon, self.config.horizon)

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        ignore = getattr(task.options, "ignore_covariates", False)
        self.features.check(series, ignore_covariates=ignore)

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        size = self.config.batch_size
        return [
            forecast
            for start in range(0, len(batch), size)
            for forecast in self._forecast(batch[start : start + size], task)
        ]

    def _forecast(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        network = self.network
        past = self._tensor([left_padded(one.target, self._context) for one in batch])
        observed = past.isfinite()
        past = past.nan_to_num()
        level = Level.of(past, observed)
        with torch.inference_mode():
            answer = network(level.apply(past, observed), *self._beside(batch))
        restored = level.restore(answer.double())[:, :, : task.horizon].cpu().numpy()
        scales = level.scale.cpu().numpy()[..., 0]
        calibrated = [
            self._calibrated(self._native(one), scale, task)
            for one, scale in zip(restored, scales, strict=True)
        ]
        return [
            replace(one, warnings=one.warnings + spread_warnings(series))
            for series, one in zip(batch, calibrated, strict=True)
        ]

    def _native(self, answer: FloatArray) -> Forecast:
        """Read an answer [C, H, 1 + Q] of the network."""
        levels = self.config.quantile_levels
        return Forecast(answer[..., 0], answer[..., 1:].swapaxes(1, 2), levels)

    @property
    def _context(self) -> int:
        return self.config.context_length

    def _beside(self, known: Sequence[Series]) -> tuple[torch.Tensor, torch.Tensor]:
        """Stack covariates, [B, K, T] and [B, F, H]; a mean is told where nothing is known."""
        past = [left_padded(_rows(one.past_covariates, one.length), self._context) for one in known]
        ahead = [_at_start(_rows(one.future_covariates, 0), self.config.horizon) for one in known]
        return self._tensor(past).nan_to_num().float(), self._tensor(ahead).nan_to_num().float()

    def _tensor(self, rows: Sequence[FloatArray]) -> torch.Tensor:
        """Stack in double precision, where the device has it."""
        dtype = np.float32 if self.device.startswith("mps") else np.float64
        return torch.from_numpy(np.stack(rows).astype(dtype)).to(self.device)

    # Training

    @property
    def _goes_on(self) -> bool:
        return self.config.training_mode is TrainingMode.FINE_TUNE

    def _prepare_training(self, train: Sequence[Series]) -> None:
        if self._goes_on:
            self.features.check_training(train)
        else:
            self._measure(train)

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        return cast(nn.Module, self.network) if self._goes_on else self._new_network()

    def _windows(self, series: Sequence[Series]) -> Windows:
        return Windows(
            [_in_own_scale(self._known(self.features.with_own_scales(one))) for one in series],
            context_length=self.config.context_length,
            horizon=self.config.horizon,
            stride=self.config.stride,
            known_ahead=self.features.known_ahead,
        )

    def _calibrate(self, validation: Windows) -> ConformalCalibration | None:
        return ConformalCalibration.from_windows(
            validation,
            self._forecast_windows,
            self.config.batch_size,
            levels=self._calibrated_levels,
        )

    @torch.inference_mode()
    def _forecast_windows(self, windows: WindowBatch) -> FloatArray:
        """Forecast a batch of windows at the calibrated levels: [B, C, Q, H]."""
        batch = Batch.of(windows, torch.device(self.device))
        level = Level.of(batch.past, batch.past_observed)
        relative = level.apply(batch.past, batch.past_observed)
        answer = level.restore(
            self.network(relative, batch.past_covariates, batch.future_covariates)
        )
        native = [self._native(one) for one in answer.cpu().numpy()]
        return np.stack([at_levels(one, self._calibrated_levels).quantiles for one in native])

    @property
    def _calibrated_levels(self) -> tuple[float, ...]:
        """Name the network's own levels, and those of the 95 % interval between them."""
        own = self.config.quantile_levels
        more = {level for level in (0.025, 0.975) if own[0] < level < own[-1]}
        return tuple(sorted({*own, *more}))

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        level = Level.of(batch.past, batch.past_observed)
        relative = level.apply(batch.past, batch.past_observed)
        answer = level.restore(network(relative, batch.past_covariates, batch.future_covariates))
        levels = torch.tensor(self.config.quantile_levels, device=answer.device)
        return joint_loss(answer, batch.future, batch.future_observed, levels)


def joint_loss(
    answer: torch.Tensor, actual: torch.Tensor, observed: torch.Tensor, levels: torch.Tensor
) -> torch.Tensor:
    """Add the squared error of the mean and the pinball loss of the quantiles.

    Each is the average over the observed steps; level ½ counts |y - q|.

    Args:
        answer: [B, C, H, 1 + Q].
        actual: [B, C, H].
        observed: [B, C, H].
        levels: [Q].
    """
    error = actual[..., None] - answer
    squared, below = error[..., 0] ** 2, error[..., 1:]
    pinball = 2 * torch.maximum(levels * below, (levels - 1) * below).mean(dim=-1)
    return ((squared + pinball) * observed).sum() / observed.sum().clamp(min=1)


def _in_own_scale(series: Series) -> Series:
    """Standardise each channel by itself, so that a loss counts every series alike."""
    return replace(series, target=Scaling.of(series.target).apply(series.target))


def _at_start(values: FloatArray, steps: int) -> FloatArray:
    """Cut or pad [., H] with NaN at the end, to `steps`."""
    lacking = max(0, steps - values.shape[1])
    return np.pad(values, ((0, 0), (0, lacking)), constant_values=np.nan)[:, :steps]


def _rows(named: Mapping[str, Any], steps: int) -> FloatArray:
    """Stack covariates in the order of their names: [K, steps], or the length that they have."""
    rows = [np.asarray(named[name], dtype=float) for name in sorted(named)]
    return np.stack(rows) if rows else np.empty((0, steps))
