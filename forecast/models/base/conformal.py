"""Calibration of a trained model on the validation split of its training, kept with the weights."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast
from forecast.models.base.calibration import conformal_offsets, scale_of
from forecast.models.base.quantiles import at_levels
from forecast.models.base.windows import WindowBatch, Windows

CALIBRATION_FILE = "calibration.json"
CALIBRATION_FORMAT = 2
POINT_LEVELS = (0.005, 0.01, 0.025, *(step / 20 for step in range(1, 20)), 0.975, 0.99, 0.995)
"""At which offsets from a point forecast are kept."""

CalibratedKind = Literal["point", "quantiles"]

_MOST_WINDOWS = 2000
_MOST_ERRORS = 10_000_000  # over all windows, channels, levels and steps
_ENOUGH_ERRORS = 100  # for the offsets of a step


@dataclass(frozen=True, slots=True, eq=False)
class ConformalCalibration:
    """Offsets that turn a forecast into calibrated quantiles, learned on a validation split.

    Offsets are relative to the scale of the context (`scale_of`), signed, and of each step on
    its own. Around a point forecast they are split conformal; added to quantiles of the model
    itself they are conformalised quantile regression (Romano, Patterson & Candès 2019), each
    level one-sided. Windows that overlap are not independent, and the weights were chosen on
    them: the levels asked of the errors are those of a Student t distribution with about as many
    degrees of freedom as there are disjoint windows. Steps with few errors share those of their
    neighbours, as errors grow with the step. Beyond the last step H learned, offsets grow as
    those of a random walk do, by √(h / H).

    Attributes:
        levels: the Q quantile levels, in order.
        offsets: [C, Q, H]; C is 1 where channels share them.
        kind: what the offsets are added to.
    """

    levels: tuple[float, ...]
    offsets: FloatArray
    kind: CalibratedKind = "point"

    @classmethod
    def of(cls, errors: FloatArray, levels: Sequence[float], *, disjoint: int) -> Self:
        """Learn from N windows.

        Args:
            errors: [C, B, H, N], actual minus forecast relative to the scale; NaN is no error.
                B is 1 for errors of a point forecast, else Q, for those of each quantile.
            disjoint: windows that do not overlap.

        Raises:
            BadData: a channel holds no error to learn from.
        """
        if not np.isfinite(errors).any(axis=(1, 2, 3)).all():
            raise BadData("no window holds observed values to learn the model's errors from")
        wanted = _inflated(levels, disjoint)
        offsets = np.stack([_offsets_of_channel(own, wanted) for own in errors])
        offsets = np.round(offsets, 6)  # as they are saved
        return cls(tuple(levels), offsets, "point" if errors.shape[1] == 1 else "quantiles")

    @classmethod
    def from_windows(
        cls,
        windows: Windows,
        forecast: Callable[[WindowBatch], FloatArray],
        batch_size: int,
        *,
        levels: Sequence[float] | None = None,
        per_channel: bool = False,
    ) -> Self:
        """Forecast windows that training did not learn from, and learn from the errors.

        Of many windows, so many are used that are evenly spread.

        Args:
            forecast: of a batch of windows: points [B, C, 1, H], or quantiles [B, C, Q, H].
            levels: those of the quantiles; None for points.
            per_channel: whether each of the C channels has offsets of its own.
        """
        chosen = _spread(windows, len(levels) if levels else 1)
        batches = (
            windows.take(chosen[at : at + batch_size]) for at in range(0, len(chosen), batch_size)
        )
        errors = np.concatenate([_relative_errors(each, forecast(each)) for each in batches])
        by_channel = errors.transpose(1, 2, 3, 0)
        if not per_channel:
            by_channel = np.concatenate(list(by_channel), axis=-1)[None]
        return cls.of(by_channel, levels or POINT_LEVELS, disjoint=windows.count_disjoint())

    def around(self, point: FloatArray, scale: FloatArray, levels: Sequence[float]) -> Forecast:
        """Put quantiles around a point forecast.

        Args:
            point: [C, H], of any horizon.
            scale: [C] of the contexts.
        """
        offsets = self._at(np.asarray(levels, dtype=float), point.shape[1]) * scale[:, None, None]
        quantiles = point[:, None].astype(float) + offsets
        return Forecast(point, quantiles, tuple(levels), intervals="conformal")

    def adjust(self, forecast: Forecast, scale: FloatArray) -> Forecast:
        """Add the offsets to the quantiles of a forecast; the mean stays.

        Args:
            scale: [C] of the contexts.
        """
        native = at_levels(forecast, self.levels)
        offsets = self._stretched(forecast.mean.shape[1]) * scale[:, None, None]
        quantiles = np.sort(native.quantiles + offsets, axis=1)
        return replace(native, quantiles=quantiles, intervals="conformal")

    def _stretched(self, horizon: int) -> FloatArray:
        """Give the offsets of any horizon: [C, Q, horizon]."""
        learned = self.offsets.shape[2]
        steps = np.arange(1, horizon + 1)
        growth = np.sqrt(np.maximum(steps / learned, 1.0))
        offsets: FloatArray = self.offsets[..., np.minimum(steps, learned) - 1] * growth
        return offsets

    def _at(self, asked: FloatArray, horizon: int) -> FloatArray:
        """Interpolate offsets to [C, A, horizon], as if errors were Gaussian between levels."""
        own = _normal(np.asarray(self.levels))
        wanted = _normal(asked)
        inside = np.clip(wanted, own[0], own[-1])
        above = np.clip(np.searchsorted(own, inside), 1, len(own) - 1)
        share = ((inside - own[above - 1]) / (own[above] - own[above - 1]))[None, :, None]
        known = self._stretched(horizon)
        mixed = known[:, above - 1] * (1 - share) + known[:, above] * share
        beyond = np.divide(wanted, inside, out=np.ones_like(wanted), where=inside != wanted)
        offsets: FloatArray = mixed * beyond[None, :, None]
        return offsets

    @classmethod
    def assumed(cls, horizon: int) -> Self:
        """Assume Gaussian errors that grow to the scale of the context."""
        growth = np.sqrt(np.arange(1, horizon + 1) / horizon)
        return cls(POINT_LEVELS, (_normal(np.array(POINT_LEVELS))[:, None] * growth)[None])

    def save(self, folder: Path) -> None:
        """Write `calibration.json` beside the weights."""
        document = {
            "format_version": CALIBRATION_FORMAT,
            "kind": self.kind,
            "levels": self.levels,
            "offsets": self.offsets.tolist(),
        }
        (folder / CALIBRATION_FILE).write_text(json.dumps(document) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read `calibration.json`; return None if the file does not exist.

        Raises:
            BadData: it is not what `save` wrote, or of an older format.
        """
        file = folder / CALIBRATION_FILE
        if not file.exists():
            return None
        try:
            document = _Document.model_validate_json(file.read_bytes())
            offsets = np.array(document.offsets, dtype=float)
        except ValueError as error:
            raise BadData(
                f"{CALIBRATION_FILE} of the weights is not of format {CALIBRATION_FORMAT}, the only"
                " one that this version reads; train the model again, or delete the file to"
                " forecast without calibration"
            ) from error
        is_shaped = offsets.ndim == 3 and offsets.size > 0
        if not is_shaped or offsets.shape[1] != len(document.levels):
            raise BadData(f"{CALIBRATION_FILE} of the weights holds no offsets of each level")
        return cls(document.levels, offsets, document.kind)


class _Document(BaseModel):
    """`calibration.json`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format_version: Literal[2]
    kind: CalibratedKind
    levels: tuple[float, ...]
    offsets: list[list[list[float]]]


def _spread(windows: Windows, bases: int) -> npt.NDArray[np.int64]:
    """Choose windows that are evenly spread, few enough to keep all their errors at once."""
    future = windows.take(np.zeros(1, dtype=np.int64)).future.size
    most = min(len(windows), _MOST_WINDOWS, max(1, _MOST_ERRORS // (bases * future)))
    return np.linspace(0, len(windows) - 1, most).round().astype(np.int64)


def _relative_errors(batch: WindowBatch, forecast: FloatArray) -> FloatArray:
    """Measure actual minus forecast in scales of the context: [N, C, B, H]; NaN is missing."""
    scale = scale_of(np.where(batch.past_observed, batch.past, np.nan))
    safe = np.where(scale > 0, scale, np.nan)[:, :, None, None]
    actual = np.where(batch.future_observed, batch.future, np.nan).astype(float)
    errors: FloatArray = (actual[:, :, None] - forecast) / safe
    return errors


def _inflated(levels: Sequence[float], disjoint: int) -> FloatArray:
    """Move levels outwards, to those that a Student t with few degrees of freedom asks for.

    Two degrees stand for the steps and channels of a window, which are not one error either.
    """
    from scipy import special  # half a second that workers and hosts start without

    asked = special.stdtrit(disjoint + 2, np.asarray(levels, dtype=float))
    inflated: FloatArray = special.ndtr(np.clip(asked, -8.0, 8.0))  # beyond, a float is 0 or 1
    return inflated


def _offsets_of_channel(errors: FloatArray, levels: FloatArray) -> FloatArray:
    """Find the offsets [Q, H] of errors [B, H, N]."""
    growth = _growth(errors[len(errors) // 2])
    relative = errors / growth[:, None]
    counts = np.isfinite(errors).all(axis=0).sum(axis=-1)
    columns = []
    for step in range(len(counts)):
        near = relative[:, _neighbours(counts, step)].reshape(len(errors), -1)
        columns.append(
            conformal_offsets(near[0], tuple(levels))
            if len(near) == 1
            else np.array([_shift(*pair) for pair in zip(near, levels, strict=True)])
        )
    offsets: FloatArray = np.stack(columns, axis=-1) * growth
    return offsets


def _growth(errors: FloatArray) -> FloatArray:
    """Fit how errors [H, N] grow with the step h, as h^p with p from 0 to 1: [H]."""
    squares = np.nan_to_num(errors**2).sum(axis=-1) / np.maximum(np.isfinite(errors).sum(-1), 1)
    steps = np.arange(1, len(errors) + 1)
    known = squares > 0
    if known.sum() < 2:
        return np.ones(len(errors))
    slope = np.polyfit(np.log(steps[known]), np.log(squares[known]) / 2, 1)[0]
    growth: FloatArray = steps ** float(np.clip(slope, 0.0, 1.0))
    return growth


def _neighbours(counts: npt.NDArray[np.int64], step: int) -> slice:
    """Name the steps around one that hold enough errors together."""
    for reach in range(len(counts)):
        near = slice(max(step - reach, 0), step + reach + 1)
        if counts[near].sum() >= _ENOUGH_ERRORS:
            return near
    return slice(None)


def _shift(errors: FloatArray, level: float) -> float:
    """Find what a quantile is short of: the conformal quantile of its errors [n].

    Beyond the outermost error it is that error, or 0 where that lies on the other side.
    """
    outwards = np.sort((errors if level >= 0.5 else -errors)[np.isfinite(errors)])
    if len(outwards) == 0:
        return 0.0
    rank = int(np.ceil((len(outwards) + 1) * max(level, 1 - level) - 1e-9))
    beyond = rank > len(outwards)
    shift = float(max(outwards[-1], 0.0) if beyond else outwards[rank - 1])
    return shift if level >= 0.5 else -shift


def _normal(levels: FloatArray) -> FloatArray:
    from scipy import special

    quantiles: FloatArray = special.ndtri(levels)
    return quantiles
