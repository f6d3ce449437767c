"""Quantiles for models that make point forecasts only, from the errors they made before.

All of it is split conformal prediction with absolute errors (Vovk, Gammerman & Shafer 2005;
Lei et al. 2018, arXiv:1604.04173). Of n errors r_1 ≤ … ≤ r_n the radius that covers a share
c of what is to come is r_k with k = ⌈(n + 1) c⌉, and the quantile at level τ is

    point + sign(τ - ½) · radius(|2τ - 1|),

so the median is the point forecast and quantiles never cross. Beyond the largest error (k > n)
the radius is max(r_n, √mean(r²) · Φ⁻¹((1 + c) / 2)), as if errors were Gaussian.

Errors come from one of two places: `LearnedErrors` from windows that were held out in
training, step by step, relative to the scale of the series; `past_errors` from forecasts that
the model makes of the series' own past. The coverage that theory promises holds for
exchangeable errors; those of a changing series are not, and it then holds only about.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Self

import numpy as np

from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast
from forecast.models.base.windows import Mask, WindowBatch, Windows

CALIBRATION_FILE = "calibration.json"
COVERAGES = (*(share / 50 for share in range(50)), 0.99, 0.995)
"""At which `LearnedErrors` keeps radii."""


def conformal_radii(errors: FloatArray, coverages: FloatArray) -> FloatArray:
    """Find the radii [..., K] that cover shares of future errors.

    Args:
        errors: [..., n], of any sign; NaN is no error. Without any the radius is 0.
        coverages: [K], each in [0, 1).
    """
    ordered = np.sort(np.abs(errors), axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)  # [..., 1]
    filled = np.nan_to_num(ordered)
    padded = np.concatenate([np.zeros((*filled.shape[:-1], 1)), filled], axis=-1)
    rank = np.ceil((count + 1) * coverages - 1e-9).astype(np.int64)  # [..., K]
    found = np.take_along_axis(padded, np.minimum(rank, count), axis=-1)
    spread = np.sqrt((filled**2).sum(axis=-1, keepdims=True) / np.maximum(count, 1))
    gaussian = _gaussian(coverages)
    radii: FloatArray = np.where(rank > count, np.maximum(found, spread * gaussian), found)
    return radii


def conformal_offsets(errors: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return the offsets [..., Q] from a point forecast to its quantiles, from signed errors.

    Each side is split conformal on its own (Romano, Patterson & Candès 2019, arXiv:1905.03222):
    of n errors e_1 ≤ … ≤ e_n the offset at a level τ > ½ is e_k with k = ⌈(n + 1) τ⌉, and the one
    at τ < ½ mirrors it. Beyond the outermost error the offset is that of a Gaussian with the root
    mean square of the errors, or the outermost error where that is larger. Offsets below ½ are
    never positive and offsets above ½ never negative, so an interval contains its own point.

    Args:
        errors: [..., n], actual minus forecast; NaN is no error. Without any, offsets are 0.
        levels: [Q], each in (0, 1).
    """
    asked = np.asarray(levels, dtype=float)
    upper = _one_sided(errors, np.maximum(asked, 1 - asked))
    lower = -_one_sided(-np.asarray(errors), np.maximum(asked, 1 - asked))
    side = np.sign(np.round(asked - 0.5, 12))
    offsets: FloatArray = np.where(
        side > 0, np.maximum(upper, 0.0), np.where(side < 0, np.minimum(lower, 0.0), 0.0)
    )
    return offsets


def _one_sided(errors: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the upper conformal bounds [..., Q] of errors [..., n] at levels of at least ½."""
    ordered = np.sort(np.asarray(errors, dtype=float), axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    filled = np.nan_to_num(ordered)
    padded = np.concatenate([np.zeros((*filled.shape[:-1], 1)), filled], axis=-1)
    rank = np.ceil((count + 1) * levels - 1e-9).astype(np.int64)
    found = np.take_along_axis(padded, np.minimum(rank, count), axis=-1)
    spread = np.sqrt((filled**2).sum(axis=-1, keepdims=True) / np.maximum(count, 1))
    gaussian = np.array([NormalDist().inv_cdf(level) for level in levels])
    bounds: FloatArray = np.where(rank > count, np.maximum(found, spread * gaussian), found)
    return bounds


def coverages_of(levels: Sequence[float]) -> FloatArray:
    """Name the share that the interval between a level and its mirror image covers: [Q]."""
    covered: FloatArray = np.abs(2 * np.asarray(levels, dtype=float) - 1)
    return covered


def _gaussian(coverages: FloatArray) -> FloatArray:
    """Find the radii of a standard Gaussian."""
    radii: FloatArray = np.array([NormalDist().inv_cdf((1 + share) / 2) for share in coverages])
    return radii


def calibrated(point: FloatArray, radii: FloatArray, levels: Sequence[float]) -> Forecast:
    """Put quantiles around a point forecast.

    Args:
        point: [C, H].
        radii: [C, Q, H], not below 0, of the coverages of the Q levels.
    """
    side = np.sign(np.round(np.asarray(levels, dtype=float) - 0.5, 12))[None, :, None]
    return Forecast(point, point[:, None].astype(float) + side * radii, tuple(levels))


@dataclass(frozen=True, slots=True, eq=False)
class LearnedErrors:
    """How far off a trained model is at each step, relative to the scale of a series.

    The scale is the standard deviation of the observed context (`scale_of`). Beyond the last
    step H learned, radii grow as those of a random walk do, by √(h / H).

    Attributes:
        radii: [C, K, H], at the coverages of `COVERAGES`; C is 1 where channels share them.
    """

    radii: FloatArray

    @classmethod
    def of(
        cls, actual: FloatArray, point: FloatArray, scale: FloatArray, *, per_channel: bool = False
    ) -> Self:
        """Learn from N windows.

        A step without any error takes the radii of the step before it, or else of the first
        that has one.

        Args:
            actual: [N, C, H], NaN where nothing was observed.
            point: [N, C, H], what was forecast.
            scale: [N, C] of the contexts; a window of scale 0 tells nothing.
            per_channel: whether each of the C channels has radii of its own.

        Raises:
            BadData: there is no error to learn from.
        """
        safe = np.where(scale > 0, scale, np.nan)[..., None]
        errors = ((actual - point) / safe).transpose(1, 2, 0)  # [C, H, N]
        if not per_channel:
            errors = errors.transpose(1, 0, 2).reshape(1, errors.shape[1], -1)
        if not np.isfinite(errors).any(axis=(1, 2)).all():
            raise BadData("no window holds observed values to learn the model's errors from")
        radii = conformal_radii(errors, np.array(COVERAGES))  # [C, H, K]
        for own, errors_of_channel in zip(radii, errors, strict=True):
            _fill(own, np.isfinite(errors_of_channel).any(axis=-1))
        return cls(radii.swapaxes(1, 2))

    @classmethod
    def from_windows(
        cls,
        windows: Windows,
        point: Callable[[WindowBatch], FloatArray],
        batch_size: int,
        *,
        per_channel: bool = False,
        most: int = 2000,
    ) -> Self:
        """Forecast windows, and learn from how far off that was.

        Windows that training did not see give radii that hold; those it saw, too narrow ones.

        Args:
            point: forecasts a batch of windows: [B, C, H].
            most: windows used; of more, so many that are evenly spread.
        """
        spread = np.linspace(0, len(windows) - 1, min(most, len(windows))).round().astype(np.int64)
        actual, points, scales = [], [], []
        for start in range(0, len(spread), batch_size):
            batch = windows.take(spread[start : start + batch_size])
            actual.append(np.where(batch.future_observed, batch.future, np.nan))
            points.append(point(batch))
            scales.append(scale_of(np.where(batch.past_observed, batch.past, np.nan)))
        return cls.of(
            np.concatenate(actual).astype(float),
            np.concatenate(points).astype(float),
            np.concatenate(scales),
            per_channel=per_channel,
        )

    def forecast(self, point: FloatArray, scale: FloatArray, levels: Sequence[float]) -> Forecast:
        """Put quantiles around a point forecast.

        Args:
            point: [C, H], of any horizon.
            scale: [C] of the series.
        """
        learned, horizon = self.radii.shape[2], point.shape[1]
        steps = np.arange(1, horizon + 1)
        growth = np.sqrt(np.maximum(steps / learned, 1.0))
        radii = self._at(coverages_of(levels))[..., np.minimum(steps, learned) - 1] * growth
        return calibrated(point, radii * scale[:, None, None], levels)

    def _at(self, coverages: FloatArray) -> FloatArray:
        """Interpolate radii to [C, Q, H]; beyond the last coverage they are Gaussian."""
        own = np.array(COVERAGES)
        above = np.clip(np.searchsorted(own, coverages), 1, len(own) - 1)
        share = np.clip((coverages - own[above - 1]) / (own[above] - own[above - 1]), 0.0, 1.0)
        share = share[None, :, None]
        mixed = self.radii[:, above - 1] * (1 - share) + self.radii[:, above] * share
        beyond = _gaussian(np.maximum(coverages, own[-1])) / _gaussian(own[-1:])
        found: FloatArray = mixed * beyond[None, :, None]
        return found

    def save(self, folder: Path) -> None:
        """Write `calibration.json` beside the weights."""
        document = {"coverages": COVERAGES, "radii": np.round(self.radii, 6).tolist()}
        (folder / CALIBRATION_FILE).write_text(json.dumps(document) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read `calibration.json`; None where there is none.

        Raises:
            BadData: it is not what `save` wrote.
        """
        file = folder / CALIBRATION_FILE
        if not file.exists():
            return None
        try:
            document = json.loads(file.read_text())
            radii = np.array(document["radii"], dtype=float)
        except (ValueError, TypeError, KeyError) as error:
            raise BadData(f"{CALIBRATION_FILE} of the weights cannot be read") from error
        is_shaped = radii.ndim == 3 and radii.size > 0 and radii.shape[1] == len(COVERAGES)
        is_sound = is_shaped and bool((np.isfinite(radii) & (radii >= 0)).all())
        if not is_sound or document.get("coverages") != list(COVERAGES):
            raise BadData(f"{CALIBRATION_FILE} of the weights holds no radii of this version")
        return cls(radii)


def scale_of(context: FloatArray) -> FloatArray:
    """Measure the standard deviation of the observed values: [..., T] → [...]; 0 without any."""
    observed = ~np.isnan(context)
    count = np.maximum(observed.sum(axis=-1), 1)
    values = np.nan_to_num(context.astype(float))
    mean = values.sum(axis=-1) / count
    squares = np.where(observed, values - mean[..., None], 0.0) ** 2
    scale: FloatArray = np.sqrt(squares.sum(axis=-1) / count)
    return scale


def _fill(radii: FloatArray, known: Mask) -> None:
    """Give steps [H] without errors the radii [H, K] of the step before, or of the first."""
    steps = np.flatnonzero(known)
    before = np.searchsorted(steps, np.arange(len(known)), side="right") - 1
    radii[:] = radii[steps[np.maximum(before, 0)]]
