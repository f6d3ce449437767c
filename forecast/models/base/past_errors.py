"""Quantiles of a point forecast from the errors of forecasts of the series' own past."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.calibration import conformal_offsets

IntArray = npt.NDArray[np.integer[Any]]

PointForecasts = Callable[[Sequence[Series], int], Sequence[FloatArray]]
"""Forecasts series over a horizon: [C, H] each."""

ORIGINS = 6
"""Earlier points in time that a series is forecast from, to learn how far off that is."""

_FEW = 8  # independent errors; below, the offsets are Gaussian
_POWERS = np.linspace(0.0, 1.0, 21)
_EXPECTED_POWER = 0.5  # of a random walk
_TINY = 1e-300
_PRIOR_CHANGES = 20  # of the usual size, that each phase of a season is taken to have had
UNKNOWN = (
    "the series is too short to tell how far off its forecast may be;"
    " its quantiles are the point forecast"
)
UNCALIBRATED = (
    "the series is too short to calibrate its quantiles on its past; they are the model's own"
)


def with_past_errors(
    batch: Sequence[Series],
    task: ForecastTask,
    point: PointForecasts,
    *,
    origins: int = ORIGINS,
    block: int | None = None,
    least: int = 1,
) -> list[Forecast]:
    """Forecast series, with quantiles from forecasts of each one's own past.

    Every series is cut at up to `origins` earlier steps, spread over its second half, and all
    cuts of one horizon are forecast in one call together with the series themselves. The error
    of step h is taken to grow as h^p, see `offsets_of`. A series of one value has no errors, and a
    few equal ones tell no spread; its quantiles are its point forecast, with a warning.

    Args:
        block: steps by which a past is forecast, whatever the horizon: answers of different
            horizons agree in their first steps (except beside covariates known ahead, where
            half of the series, or the horizon, is the most). The horizon if None.
        least: fewest observed values that the model can forecast from.
    """
    horizon, levels = task.horizon, task.quantile_levels
    if not levels:
        means = point(batch, horizon)
        return [Forecast(mean, np.empty((len(mean), 0, horizon)), ()) for mean in means]
    reaches = [_reach(series, block or horizon, horizon) for series in batch]
    steps = [max(reach, horizon) for reach in reaches]
    cuts = [
        _cuts(series, reach, longest, origins, least)
        for series, reach, longest in zip(batch, reaches, steps, strict=True)
    ]
    asked = [
        (one, horizon if one.future_covariates and one is series else longest)
        for series, earlier, longest in zip(batch, cuts, steps, strict=True)
        for one in (series, *earlier)
    ]
    answers = iter(_answered(point, asked))
    forecasts = []
    for series, earlier, reach in zip(batch, cuts, reaches, strict=True):
        mean = next(answers)[:, :horizon]
        points = [next(answers)[:, :reach] for _ in earlier]
        offsets, known = _offsets_of_series(series, earlier, points, task)
        warnings = () if known else (UNKNOWN,)
        quantiles = mean[:, None].astype(float) + offsets
        forecasts.append(Forecast(mean, quantiles, tuple(levels), warnings))
    return forecasts


def calibrated_on_the_past(
    batch: Sequence[Series],
    task: ForecastTask,
    predict: Callable[[Sequence[Series], ForecastTask], list[Forecast]],
    *,
    origins: int = ORIGINS,
    block: int | None = None,
    least: int = 1,
) -> list[Forecast]:
    """Forecast series by any model, with quantiles as `with_past_errors` makes them.

    The warnings of the model's own forecasts are kept.
    """
    made: dict[int, Forecast] = {}

    def points(asked: Sequence[Series], horizon: int) -> list[FloatArray]:
        forecasts = predict(asked, replace(task, horizon=horizon, quantile_levels=()))
        made.update((id(one), answer) for one, answer in zip(asked, forecasts, strict=True))
        return [forecast.mean for forecast in forecasts]

    answers = with_past_errors(batch, task, points, origins=origins, block=block, least=least)
    return [
        replace(
            answer,
            warnings=made[id(series)].warnings + answer.warnings,
            intervals="conformal",
        )
        for series, answer in zip(batch, answers, strict=True)
    ]


def _reach(series: Series, block: int, horizon: int) -> int:
    """Count the steps to forecast a past by; beside covariates, only as far as they are known."""
    if not series.future_covariates or block <= horizon:
        return block
    return max(horizon, min(block, series.length // 2))


def _answered(point: PointForecasts, asked: Sequence[tuple[Series, int]]) -> list[FloatArray]:
    """Forecast series over a horizon each, those of one horizon in one call."""
    answers: dict[int, FloatArray] = {}
    for horizon in dict.fromkeys(steps for _, steps in asked):
        of_it = [at for at, (_, steps) in enumerate(asked) if steps == horizon]
        forecasts = point([asked[at][0] for at in of_it], horizon)
        answers.update(zip(of_it, forecasts, strict=True))
    return [answers[at] for at in range(len(asked))]


def _cuts(series: Series, reach: int, horizon: int, count: int, least: int) -> list[Series]:
    return [
        cut
        for origin in origins_of(series.length, reach, count)
        if _observed(cut := series.until(origin, horizon)) >= least
    ]


def origins_of(length: int, reach: int, count: int) -> tuple[int, ...]:
    """Choose how many first steps to forecast the rest from: up to `count` numbers.

    They are spread over the second half, as far as whole stretches of `reach` steps are known
    after them, or else as far as one step is.
    """
    first, last = -(-length // 2), length - 1
    if length - reach >= first:
        last = length - reach
    if last < max(first, 1):
        return ()
    spread = np.linspace(first, last, count).round().astype(int)
    return tuple(int(origin) for origin in np.unique(spread) if origin > 0)


def _observed(series: Series) -> int:
    """Count the observed values of the channel that has the fewest."""
    return int((~np.isnan(series.target)).sum(axis=1).min())


def _offsets_of_series(
    series: Series, cuts: Sequence[Series], points: Sequence[FloatArray], task: ForecastTask
) -> tuple[FloatArray, bool]:
    """Find the offsets [C, Q, H], and whether every channel had an error to find them from."""
    ahead = np.arange(1, task.horizon + 1)
    found = [
        past_errors_of(
            series.target[channel],
            [cut.length for cut in cuts],
            [point[channel] for point in points],
        )
        for channel in range(series.num_channels)
    ]
    offsets = [offsets_of(past, task.quantile_levels, past.gap + ahead) for past in found]
    return np.stack(offsets), all(past.is_known for past in found)


@dataclass(frozen=True, slots=True, eq=False)
class PastErrors:
    """Errors of forecasts of one series that were made at K earlier origins.

    Attributes:
        errors: [K, B], actual minus forecast; NaN where nothing was observed.
        steps: [K, B], how many steps after the last value then observed.
        independent: as how many independent errors they are worth.
        borrowed: of those, how many are the naive ones.
        gap: missing steps at the end of the series.
        origins: how many of the first rows are forecasts of the model; the rest are naive ones.
        sizes: [K, B], how large errors usually are at that phase of the season; 1 on average.
        profile: [S], the same for the steps after the last observed one, repeated.
    """

    errors: FloatArray
    steps: IntArray
    independent: float
    gap: int = 0
    origins: int = 0
    borrowed: float = 0.0
    sizes: FloatArray | float = 1.0
    profile: FloatArray = field(default_factory=lambda: np.ones(1))

    @property
    def is_known(self) -> bool:
        """Whether they tell a spread; a few errors that are all 0 do not."""
        known = self.errors[np.isfinite(self.errors)]
        return bool(known.any()) or (len(known) > 0 and self.independent >= _FEW)

    @property
    def weights(self) -> FloatArray:
        """Weigh errors [K, B] by what the model's and the naive ones are worth; they sum to 1."""
        weights = np.isfinite(self.errors).astype(float)
        if not self.borrowed:
            weights /= max(weights.sum(), 1.0)
            return weights
        worth = (self.independent - self.borrowed, self.borrowed)
        for rows, each in zip(
            (weights[: self.origins], weights[self.origins :]), worth, strict=True
        ):
            rows *= each / max(rows.sum(), 1.0)
        weights /= max(weights.sum(), _TINY)
        return weights


def past_errors_of(
    target: FloatArray,
    origins: Sequence[int],
    points: Sequence[FloatArray],
    adjusted: FloatArray | None = None,
    season: int = 1,
) -> PastErrors:
    """Compare forecasts of a past with what came.

    Where they are worth fewer than eight independent errors, those of naive forecasts from every
    observed step count for what is missing, but together for no more than there are changes.

    Args:
        target: [T].
        origins: how many first steps each forecast was made from.
        points: [B] each; steps beyond T are no errors.
        adjusted: [T], the target without its season, which the naive forecasts. None if it is
            not known whether there is one: then the naive forecasts the target, and counts only
            where the forecasts are of fewer than sixteen steps.
        season: over which the size of errors may vary.
    """
    reach = max((len(point) for point in points), default=1)
    times = np.asarray(origins, dtype=int)[:, None] + np.arange(reach)  # [K, B]
    padded = np.concatenate([target, np.full(reach, np.nan)])
    observed = np.flatnonzero(~np.isnan(target))
    before = [int(observed[observed < origin].max(initial=-1)) for origin in origins]
    errors = padded[times] - np.array(points, dtype=float).reshape(len(times), reach)
    steps = times - np.array(before, dtype=int).reshape(-1, 1)
    independent = _independent(errors, steps, times)
    borrowed = max(min(_FEW, len(observed) - 1) - independent, 0.0)
    distinct = len(np.unique(times[times < len(target)]))  # observed or not
    if borrowed and (adjusted is not None or distinct < 2 * _FEW):
        plain = target if adjusted is None else adjusted
        padded = np.concatenate([plain, np.full(reach, np.nan)])
        later = observed[:-1, None] + np.arange(1, reach + 1)
        errors = np.concatenate([errors, padded[later] - plain[observed[:-1], None]])
        steps = np.concatenate([steps, later - observed[:-1, None]])
        times = np.concatenate([times, later])
    else:
        borrowed = 0.0
    end = int(observed.max(initial=-1)) + 1
    profile = _profile(target[:end], season)
    sizes = profile[(times - end) % len(profile)]
    return PastErrors(
        errors,
        steps,
        independent + borrowed,
        gap=len(target) - end,
        origins=len(origins),
        borrowed=borrowed,
        sizes=sizes,
        profile=profile,
    )


def _profile(target: FloatArray, season: int) -> FloatArray:
    """Tell how large errors are at each phase of a season, for the steps after a target [T].

    It is the square root of the root mean square change over a season at a phase and its two
    neighbours, relative to that of all phases: the square root since what a model leaves varies
    less than what it explains.
    """
    if season < 4 or len(target) < 4 * season:
        return np.ones(1)
    changes = (target[season:] - target[:-season]) ** 2
    known = np.flatnonzero(np.isfinite(changes))
    usual = float(changes[known].mean()) if len(known) else 0.0
    if not usual > 0:
        return np.ones(1)
    phases = (known - len(changes)) % season
    total = np.bincount(phases, changes[known] / usual, minlength=season)
    count = np.bincount(phases, minlength=season)
    total, count = (np.roll(each, 1) + each + np.roll(each, -1) for each in (total, count))
    profile: FloatArray = ((total + _PRIOR_CHANGES) / (count + _PRIOR_CHANGES)) ** 0.25
    return profile


def offsets_of(past: PastErrors, levels: Sequence[float], ahead: IntArray) -> FloatArray:
    """Return the offsets [Q, H] of quantiles from a point forecast of `ahead` steps [H].

    The error of step h is taken to grow as h^p, times how large it usually is at that phase of
    the season; p, between 0 and 1, has the largest Gaussian likelihood, with a prior
    N(½, 0.35²). The offsets of what is left are Gaussian; with at least eight independent errors
    of the model they are averaged with conformal ones, see `_shaped`. They are widened by the
    ratio of Student's t to the Gaussian at as many degrees of freedom as there are independent
    errors: errors of neighbouring steps, and of origins that overlap, are not.
    """
    known = np.isfinite(past.errors)
    if not known.any():
        return np.zeros((len(levels), len(ahead)))
    errors, unit = _in_units((past.errors / past.sizes)[known])
    weights = past.weights[known]
    power = _power(errors, weights, past.steps[known], past.independent)
    asked = np.asarray(levels, dtype=float)
    normal: FloatArray = np.array([NormalDist().inv_cdf(level) for level in levels])
    values = errors / past.steps[known] ** power
    offsets: FloatArray = normal * _root_mean_square(values, weights)
    own = past.independent - past.borrowed
    if own >= _FEW:
        offsets = _shaped(values, levels, offsets, own)
    wide = _student(past.independent, asked)
    wider = np.where(normal == 0, 1.0, wide / np.where(normal, normal, 1.0))
    growth = ahead.astype(float) ** power * past.profile[(ahead - 1) % len(past.profile)]
    found: FloatArray = (offsets * wider)[:, None] * growth * unit
    return found


def _student(freedom: float, levels: FloatArray) -> FloatArray:
    from scipy import special  # 30 MB that a host with quantiles of its own does without

    quantiles: FloatArray = special.stdtrit(freedom, levels)
    return quantiles


def _shaped(
    values: FloatArray, levels: Sequence[float], gaussian: FloatArray, independent: float
) -> FloatArray:
    """Average Gaussian offsets [Q] and conformal ones of errors [n].

    Of n independent errors, m = n min(τ, 1 - τ) are expected beyond the quantile at τ: with few
    of them the conformal offset is little more than chance. It weighs m / (m + 1); it is itself
    halfway between an asymmetric and a symmetric one. Where it is 0, as after the first change
    of a constant, the Gaussian one stands alone.
    """
    both = np.concatenate([values, -values])
    conformal = (conformal_offsets(values, levels) + conformal_offsets(both, levels)) / 2
    asked = np.asarray(levels, dtype=float)
    beyond = independent * np.minimum(asked, 1 - asked)
    weights = np.where(conformal == 0, 0.0, beyond / (beyond + 1))
    return np.sort(weights * conformal + (1 - weights) * gaussian)


def _independent(errors: FloatArray, steps: IntArray, times: IntArray) -> float:
    """Count as how many independent errors those of several origins [K, B] are worth.

    n (1 - r) / (1 + r) with r the correlation of neighbouring steps (Bartlett), where n counts
    once what overlapping origins forecast twice; but at least one an origin of those that do not
    overlap.
    """
    known = np.isfinite(errors)
    scaled = _in_units(np.where(known, errors, 0.0))[0] / steps**_EXPECTED_POWER
    pairs = known[:, 1:] & known[:, :-1]
    first, second = (scaled[:, :-1] * pairs).ravel(), (scaled[:, 1:] * pairs).ravel()
    size = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    correlation = min(max(float(first @ second) / size, 0.0), 0.99) if size > 0 else 0.0
    distinct = len(np.unique(times[known]))
    apart = _apart(times[known.any(axis=1)])
    return min(max(distinct * (1 - correlation) / (1 + correlation), apart, 1.0), distinct)


def _apart(times: IntArray) -> int:
    """Count the most rows [K, B] of times of which none overlap."""
    count, end = 0, -1
    for row in times[np.argsort(times[:, 0])]:
        if row[0] > end:
            count, end = count + 1, int(row[-1])
    return count


def _in_units(errors: FloatArray) -> tuple[FloatArray, float]:
    """Divide by a power of two near the largest magnitude: squares of 1e-300 would be 0."""
    unit = float(np.ldexp(1.0, int(np.frexp(np.abs(errors).max(initial=0.0))[1])))
    return errors / unit, unit


def _root_mean_square(values: FloatArray, weights: FloatArray) -> float:
    return float(np.sqrt(weights @ values**2))


def _power(errors: FloatArray, weights: FloatArray, steps: IntArray, independent: float) -> float:
    """Find the p for which the errors look most like N(0, s² h^2p), among 0, 0.05, …, 1.

    Args:
        errors: [n], none missing.
        weights: [n], which sum to 1.
        steps: [n].
        independent: as how many errors they count against the prior.
    """
    size = _root_mean_square(errors, weights)
    if size == 0:
        return _EXPECTED_POWER
    logs = np.log(steps)
    variance = np.exp(-2 * _POWERS[:, None] * logs) * (errors / size) ** 2 @ weights  # [P]
    cost = _POWERS * (weights @ logs) + np.log(np.maximum(variance, _TINY)) / 2
    prior = 4 * (_POWERS - _EXPECTED_POWER) ** 2
    return float(_POWERS[np.argmin(independent * cost + prior)])
