"""A network from a context of fixed length to a block of fixed length, and all around it.

Each channel is standardised by its own context, and the answer is scaled back (reversible
instance normalisation, Kim et al. 2022): a series that is moved or stretched gets a forecast
that is moved and stretched with it, whatever its unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.config import DirectConfig, TrainingMode
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.features import Features, TrainedScale
from forecast.models.base.past_errors import with_past_errors
from forecast.models.base.quantiles import at_levels
from forecast.models.base.scaling import (
    Scaler,
    pad_start,
    spread_warnings,
    standardised,
    standardize,
)
from forecast.models.base.torch.device import seeded
from forecast.models.base.torch.model import TorchModel, load_weights
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import WindowBatch, Windows, rounded_up
from forecast.models.spec import Capabilities

WEIGHTS_FILE = "model.safetensors"
LONGEST_UNROLL = 16
"""Most blocks that are forecast one after the other, each from the ones before."""


class Lengths(NamedTuple):
    """Steps that a network reads, and steps that it forecasts at once."""

    context: int
    block: int


class Context(NamedTuple):
    """What a network reads of B series.

    Attributes:
        past: [B, C, T] float32 without gaps (`filled`).
        observed: [B, C, T] bool.
        past_covariates: [B, K, T] float32, in the order of `features.covariates`; 0 if unknown.
        future_covariates: [B, F, H] float32, in the order of `features.known_ahead`.
    """

    past: torch.Tensor
    observed: torch.Tensor
    past_covariates: torch.Tensor
    future_covariates: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The forecast of the steps after a context.

    Attributes:
        mean: [B, C, H].
        quantiles: [B, C, Q, H]; None if the network has none.
    """

    mean: torch.Tensor
    quantiles: torch.Tensor | None = None

    def restored(self, scaler: Scaler[torch.Tensor]) -> "Block":
        """Bring a forecast of standardised contexts back to their unit."""
        quantiles = None if self.quantiles is None else scaler.restore(self.quantiles).float()
        return Block(scaler.restore(self.mean).float(), quantiles)


class NetworkModel(TorchModel):
    """Adds to a network of fixed lengths what makes it forecast any series.

    A shorter context is padded at the start. A longer horizon is forecast block by block, each
    from the means before it. A network without quantiles takes them from its errors on the
    validation split (`calibration_`), or from those on the past of a request.

    Attributes:
        calibrates_per_channel: whether each channel has offsets of its own; a network that takes
            any channels has not.
        standardizes_windows: whether training windows are standardised before the network reads
            them; false for a network that does so itself.
        most_blocks: blocks that are forecast one after the other, at most.
        shaping_options: the options that shape the network, whose weights fit no others.
        features: channels and covariates that the network was trained on; None for one that takes
            any channels, and no covariates.
    """

    calibrates_per_channel: bool = False
    standardizes_windows: ClassVar[bool] = True
    most_blocks: ClassVar[int] = 1
    shaping_options: ClassVar[tuple[str, ...]] = ()
    features: Features | None = None

    # What a family writes, or refines

    def _new_network(self) -> nn.Module:
        """Build the network that the configuration and the features ask for."""
        raise NotImplementedError

    def _configured_lengths(self) -> Lengths:
        """Return the lengths of a network that is to be built."""
        config = self.config
        assert config.context_length is not None
        assert config.horizon is not None
        return Lengths(config.context_length, config.horizon)

    def _loaded_lengths(self) -> Lengths:
        """Return the lengths of the network that is loaded."""
        return self._configured_lengths()

    def _run(self, network: nn.Module, context: Context, levels: Sequence[float] = ()) -> Block:  # noqa: ARG002 -- for one that answers any level
        """Run a network on contexts; by default one that answers [B, C, H, 1 + Q].

        Args:
            levels: of the quantiles, for a network that has any.
        """
        answer = network(context.past, context.past_covariates, context.future_covariates)
        return Block(answer[..., 0], answer[..., 1:].movedim(-1, 2))

    def _own_levels(self) -> tuple[float, ...]:
        """Return the quantile levels of the network; empty if it forecasts the mean only."""
        return self.config.quantile_levels if isinstance(self.config, DirectConfig) else ()

    def _asked_levels(self, task: ForecastTask) -> tuple[float, ...]:  # noqa: ARG002 -- as above
        """Return the levels of the network's quantiles for a task."""
        return self._own_levels()

    def _measure(self, train: Sequence[Series]) -> Features:
        """Learn names and scales from the training series."""
        # The network needs no scale of a target: it reads each relative to itself.
        measured = Features.of(train, getattr(self.config, "known_ahead", ()))
        identity = (TrainedScale(),) * measured.num_channels
        return measured.model_copy(update={"targets": identity})

    def _scaler(self, past: FloatArray) -> Scaler[FloatArray]:
        """Return what standardises contexts [..., C, T]."""
        return Scaler.of(past)

    def _readable(self, series: Series, history: Series) -> Series:
        """Standardise the covariates of a series, and add what else the network reads of it.

        Args:
            history: the whole past of the series, of which `series` is the end.
        """
        return self.features.with_own_scales(series, history) if self.features else series

    # Forecasting

    @property
    def capabilities(self) -> Capabilities:
        """What the family can do, less what this network was not trained for."""
        able, features = self.spec.capabilities, self.features
        if self.model_ is None:
            return able
        if features is not None:
            able = replace(
                able,
                multivariate=able.multivariate and features.num_channels > 1,
                past_covariates=able.past_covariates and bool(features.covariates),
                future_covariates=able.future_covariates and bool(features.known_ahead),
            )
        lengths = self._loaded_lengths()
        return replace(
            able,
            max_context=lengths.context,
            max_horizon=self.most_blocks * lengths.block,
            quantiles="native" if self._own_levels() else "calibrated",
        )

    def shared_horizon(self, horizon: int) -> int:
        """A block is made at once, and does not depend on those after it."""
        return rounded_up(horizon, self._loaded_lengths().block)

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        if self.features is not None and self.model_ is not None:
            ignore = getattr(task.options, "ignore_covariates", False)
            self.features.check(series, ignore_covariates=ignore)

    def _prepare(self, series: Series, task: ForecastTask) -> tuple[Series, tuple[str, ...]]:
        newest, warnings = super()._prepare(series, task)
        return self._readable(newest, series), warnings

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        warnings = self._warnings(task.horizon)
        if self._own_levels() or self.calibration_ is not None or not task.quantile_levels:
            forecasts = self._forecast(batch, task)
        else:
            block = self._loaded_lengths().block
            forecasts = with_past_errors(batch, task, self._points, block=block)
        return [
            replace(one, warnings=one.warnings + warnings + spread_warnings(series))
            for series, one in zip(batch, forecasts, strict=True)
        ]

    def _warnings(self, horizon: int) -> tuple[str, ...]:
        block = self._loaded_lengths().block
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
        """Forecast series of one layout in one call."""
        levels = self._asked_levels(task)
        steps = self._loaded_lengths().context
        past = np.stack([pad_start(series.target, steps) for series in batch])  # [B, C, T]
        scaler = self._scaler(past)
        block = self._unroll(self._context(past, scaler, batch), task.horizon, levels)
        means = scaler.restore(block.mean.cpu().numpy())
        quantiles = np.empty((*means.shape[:2], 0, task.horizon))
        if block.quantiles is not None:
            quantiles = scaler.restore(block.quantiles.cpu().numpy())
        return [
            self._calibrated(Forecast(mean, own, levels), scale[:, 0], task)
            for mean, own, scale in zip(means, quantiles, Scaler.of(past).scale, strict=True)
        ]

    def _context(
        self, past: FloatArray, scaler: Scaler[FloatArray], batch: Sequence[Series]
    ) -> Context:
        """Lay out contexts [B, C, T] and the covariates of their series."""
        lengths = self._loaded_lengths()
        observed = torch.from_numpy(~np.isnan(past))
        complete = filled(torch.from_numpy(np.nan_to_num(past)), observed).numpy()
        beside = [pad_start(_rows(one.past_covariates), lengths.context) for one in batch]
        ahead = [_at_start(_rows(one.future_covariates), lengths.block) for one in batch]
        return Context(
            self._tensor(scaler.apply(complete)),
            observed.to(self.device),
            self._tensor(np.stack(beside)).nan_to_num(),
            self._tensor(np.stack(ahead)).nan_to_num(),
        )

    def _tensor(self, values: FloatArray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)

    @torch.inference_mode()
    def _unroll(self, context: Context, horizon: int, levels: Sequence[float]) -> Block:
        """Forecast block by block, as far as the horizon."""
        blocks: list[Block] = []
        while sum(one.mean.shape[-1] for one in blocks) < horizon:
            block = self._run(self.network, context, levels)
            blocks.append(block)
            context = _after(context, block.mean)
        mean = torch.cat([one.mean for one in blocks], dim=-1)[..., :horizon]
        parts = [one.quantiles for one in blocks if one.quantiles is not None]
        return Block(mean, torch.cat(parts, dim=-1)[..., :horizon] if parts else None)

    # Training

    @property
    def _is_new(self) -> bool:
        """Whether training starts from a new network."""
        return self.config.training_mode is TrainingMode.FROM_SCRATCH

    def _training_lengths(self) -> Lengths:
        return self._configured_lengths() if self._is_new else self._loaded_lengths()

    @property
    def training_horizon(self) -> int:
        return self._training_lengths().block

    def _prepare_training(self, train: Sequence[Series]) -> None:
        if self.features is None:
            return
        if self._is_new:
            self.features = self._measure(train)
        elif self.network is not None:  # raises ModelNotReady without weights to tune
            self.features.check_training(train)

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        return self._new_network() if self._is_new else cast(nn.Module, self.network)

    def _windows(self, series: Sequence[Series]) -> Windows:
        lengths = self._training_lengths()
        return Windows(
            [self._for_training(one) for one in series],
            context_length=lengths.context,
            horizon=lengths.block,
            stride=self.config.stride,
            known_ahead=self.features.known_ahead if self.features else (),
        )

    def _for_training(self, series: Series) -> Series:
        """Standardise each channel by its whole series, so that a loss counts all series alike."""
        if self.features is None:
            return standardised(series)
        known = self._readable(series, series)
        return replace(known, target=standardize(known.target)[0])

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        block = self._run_windows(network, batch)
        return joint_loss(block, batch.future, batch.future_observed, self._own_levels())

    def _run_windows(self, network: nn.Module, batch: Batch, levels: Sequence[float] = ()) -> Block:
        """Forecast training windows, in the unit that they are in."""
        if not self.standardizes_windows:
            return self._run(network, context_of(batch), levels)
        context, scaler = standardized_context(batch)
        return self._run(network, context, levels).restored(scaler)

    def _calibrate(self, validation: Windows) -> ConformalCalibration | None:
        levels = self._calibrated_levels()
        return ConformalCalibration.from_windows(
            validation,
            partial(self._forecast_windows, levels=levels),
            self.config.batch_size,
            levels=levels or None,
            per_channel=self.calibrates_per_channel,
        )

    def _calibrated_levels(self) -> tuple[float, ...]:
        """Return the network's own levels, and those of the 95 % interval if between them."""
        own = self._own_levels()
        more = {level for level in (0.025, 0.975) if own and own[0] < level < own[-1]}
        return tuple(sorted({*own, *more}))

    @torch.inference_mode()
    def _forecast_windows(self, windows: WindowBatch, levels: tuple[float, ...]) -> FloatArray:
        """Forecast a batch of windows: [B, C, Q, H], or [B, C, 1, H] without levels."""
        batch = Batch.of(windows, torch.device(self.device))
        block = self._run_windows(self.network, batch, levels)
        means = block.mean.cpu().numpy()
        if block.quantiles is None or not levels:
            return means[:, :, None]
        own = self._asked_levels(ForecastTask(means.shape[-1], levels))
        pairs = zip(means, block.quantiles.cpu().numpy(), strict=True)
        return np.stack([at_levels(Forecast(*one, own), levels).quantiles for one in pairs])

    # Weights

    def _save_model_weights(self, path: Path) -> None:
        save_file(self.network.state_dict(), path / WEIGHTS_FILE)
        if self.features is not None:
            self.features.write(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self.features = Features.read(path)
        self.calibration_ = ConformalCalibration.load(path)
        network = load_weights(self._new_network(), path / WEIGHTS_FILE, self.shaping_options)
        self.model_ = network.to(self.device)

    def _draw_weights(self) -> None:
        """Make up weights, the same ones every time."""
        with seeded(0, torch.device("cpu")):
            self.model_ = self._new_network().eval()


def filled(past: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Fill gaps: with the last observed value, or before the first with the observed mean.

    Args:
        past: [..., T], any value where nothing is observed.
        observed: [..., T] bool.
    """
    kept = torch.where(observed, past, 0.0)
    mean = kept.sum(dim=-1, keepdim=True) / observed.sum(dim=-1, keepdim=True).clamp_min(1)
    steps = torch.arange(past.shape[-1], device=past.device)
    last = torch.where(observed, steps, -1).cummax(dim=-1).values
    return torch.where(last >= 0, kept.gather(-1, last.clamp_min(0)), mean)


def _after(context: Context, mean: torch.Tensor) -> Context:
    """Move a context to the end of a forecast [B, C, H], which is read as if observed."""
    steps = context.past.shape[-1]
    known = torch.ones_like(mean, dtype=torch.bool)
    past = torch.cat([context.past, mean], dim=-1)[..., -steps:]
    observed = torch.cat([context.observed, known], dim=-1)[..., -steps:]
    return context._replace(past=filled(past, observed), observed=observed)


def context_of(batch: Batch) -> Context:
    """Lay out training windows as they are."""
    return Context(
        filled(batch.past, batch.past_observed),
        batch.past_observed,
        batch.past_covariates,
        batch.future_covariates,
    )


def standardized_context(batch: Batch) -> tuple[Context, Scaler[torch.Tensor]]:
    """Lay out training windows, each standardised by its own context."""
    context = context_of(batch)
    scaler = Scaler.of(batch.past, batch.past_observed)
    return context._replace(past=scaler.apply(context.past).float()), scaler


def mean_where(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average what is observed."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)


def joint_loss(
    block: Block, actual: torch.Tensor, observed: torch.Tensor, levels: Sequence[float]
) -> torch.Tensor:
    """Add the squared error of the mean and the pinball loss of the quantiles, if there are any.

    Each is the average over the observed steps; level ½ counts |y - q|.

    Args:
        actual: [B, C, H].
        observed: [B, C, H].
        levels: the Q levels of the quantiles.
    """
    loss = (actual - block.mean).square()
    if block.quantiles is not None:
        loss = loss + 2 * pinball_loss(block.quantiles, actual, levels)
    return mean_where(loss, observed)


def pinball_loss(
    quantiles: torch.Tensor, actual: torch.Tensor, levels: Sequence[float]
) -> torch.Tensor:
    """Average the pinball loss of quantiles [B, C, Q, H] over their levels: [B, C, H]."""
    level = torch.tensor(levels, device=actual.device)[:, None]  # [Q, 1]
    error = actual[:, :, None] - quantiles
    return torch.maximum(level * error, (level - 1) * error).mean(dim=2)


def _rows(named: Mapping[str, Any]) -> FloatArray:
    """Stack covariates in the order of their names: [K, steps]."""
    rows = [np.asarray(named[name], dtype=float) for name in sorted(named)]
    return np.stack(rows) if rows else np.empty((0, 0))


def _at_start(values: FloatArray, steps: int) -> FloatArray:
    """Cut or pad [F, H] with NaN at the end, to `steps`."""
    lacking = max(0, steps - values.shape[1])
    return np.pad(values, ((0, 0), (0, lacking)), constant_values=np.nan)[:, :steps]
