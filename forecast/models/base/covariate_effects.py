"""What covariates known ahead do to a series: a shrunk regression.

For models that take none. What it says is taken off, the model forecasts what is left, and both are
averaged with a forecast without covariates, by their errors in the past.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.past_errors import origins_of
from forecast.models.base.scaling import Scaler, completed, interpolate

Predict = Callable[[Sequence[Series], ForecastTask], list[Forecast]]

_ORIGINS = 4
_FEWEST = 4  # observed values, that an origin leaves to learn from
_POWER = 3  # of the inverse error
_FAR_WORSE = 100.0  # times the error: more is the same
_USED = 0.05  # a share of the forecast with covariates below it is none
_HELPED = 0.5  # the share of the forecast with covariates where its errors are as those without
_PENALTIES = np.logspace(-4, 1, 11)
_REPEATED = 1e-9  # standard deviations, below which a change over a season is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Covariates:
    """K covariates over the T past steps and those ahead.

    Attributes:
        columns: [T + H, K], standardised by their past; constant ones are left out.
        names: K names.
        constant: names of those left out.
    """

    columns: FloatArray
    names: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()

    @classmethod
    def of_series(cls, series: Series) -> Self:
        """Read what is known ahead of a series, gaps on straight lines."""
        names = tuple(sorted(series.future_covariates))
        both = (
            np.concatenate([series.past_covariates[name], series.future_covariates[name]])
            for name in names
        )
        rows = interpolate(np.array([each.astype(np.float64) for each in both]))
        return cls.of(rows.T, names, series.length)

    @classmethod
    def of(cls, columns: FloatArray, names: tuple[str, ...], length: int) -> Self:
        """Standardise complete columns [T + H, K] by their first `length` steps."""
        moving = [index for index in range(len(names)) if np.ptp(columns[:length, index]) > 0]
        rows = columns.T[moving]
        return cls(
            Scaler.of(rows[:, :length]).apply(rows).T,
            tuple(names[index] for index in moving),
            tuple(name for index, name in enumerate(names) if index not in moving),
        )

    def repeating(self, length: int, season: int) -> tuple[str, ...]:
        """Name those that only repeat the season in the first steps: `effect` learns none."""
        changes = np.abs(_without_season(self.columns[:length], season)).max(axis=0)
        return tuple(
            name for name, most in zip(self.names, changes, strict=True) if most <= _REPEATED
        )

    def effect(self, target: FloatArray, until: int, season: int) -> FloatArray:
        """Learn from the first `until` steps of a target [T] what covariates do: [T + H].

        Target and covariates are differenced over the season, and lose the correlation of
        neighbouring errors (Cochrane & Orcutt 1949), so that a season or a trend that they share
        is no effect. The penalty has the least generalised cross-validation error (Golub, Heath
        & Wahba 1979).
        """
        cut = target[:until]
        rows = np.flatnonzero(~np.isnan(cut))
        known = completed(cut[rows[0] : rows[-1] + 1], season)
        span = slice(int(rows[0]), int(rows[-1]) + 1)
        matrix = _without_season(self.columns[span], season)
        values = _without_season(known[:, None], season)[:, 0]
        rest = values - matrix @ _shrunk(matrix, values)
        size = float(rest[:-1] @ rest[:-1])
        order = min(max(float(rest[1:] @ rest[:-1]) / size, 0.0), 1.0) if size > 0 else 0.0
        slopes = _shrunk(matrix[1:] - order * matrix[:-1], values[1:] - order * values[:-1])
        effect: FloatArray = self.columns @ slopes
        return effect


def share_of(without: float, beside: float) -> float:
    """Weigh a forecast with covariates against one without, by the inverse of errors, cubed.

    Args:
        without: the mean absolute error at earlier origins; infinite where it is not known.
        beside: of the forecast with covariates.
    """
    if not 0 < without < float("inf"):
        return 0.0
    share: float = 1 / (1 + min(beside / without, _FAR_WORSE) ** _POWER)
    return share if share >= _USED else 0.0


def notes_on(covariates: Covariates, length: int, season: int, share: float) -> tuple[str, ...]:
    """Name covariates that are not used, or count for little.

    Args:
        length: past steps.
        share: of the forecast with covariates.
    """
    notes = []
    if covariates.constant:
        notes.append(f"constant covariates were left out: {', '.join(covariates.constant)}")
    if repeating := covariates.repeating(length, season):
        listed = ", ".join(repeating)
        notes.append(f"covariates that only repeat the season were not used: {listed}")
    if covariates.names and share < _HELPED:
        count = f"count for {share:.0%}" if share else "were not used"
        notes.append(
            f"covariates that did not help at earlier origins {count}:"
            f" {', '.join(covariates.names)}"
        )
    return tuple(notes)


def with_covariates(
    batch: Sequence[Series], task: ForecastTask, predict: Predict, seasons: Sequence[int]
) -> list[Forecast]:
    """Forecast series with covariates known ahead by a model that takes none.

    Each is forecast as it is, and as what covariates leave unexplained, from its end and from up
    to four earlier origins. The two are averaged, channel by channel, by their errors there.

    Args:
        predict: answers series without covariates, each as it would alone.
        seasons: steps in the first season of each series; 1 for none.
    """
    cases = [
        _Case.of(series, task.horizon, season)
        for series, season in zip(batch, seasons, strict=True)
    ]
    answers = iter(predict([series for case in cases for series in case.asked], task))
    return [case.answer([next(answers) for _ in case.asked]) for case in cases]


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """One series.

    Attributes:
        cuts: its steps, and those until earlier origins.
        effects: [C, T + H] of the covariates, learned until each.
        asked: the series until each, as it is, and then without those effects.
    """

    series: Series
    covariates: Covariates
    season: int
    cuts: tuple[int, ...]
    effects: tuple[FloatArray, ...]
    asked: tuple[Series, ...]

    @classmethod
    def of(cls, series: Series, horizon: int, season: int) -> Self:
        covariates = Covariates.of_series(series)
        alone = replace(series, past_covariates={}, future_covariates={})
        known = np.cumsum(~np.isnan(series.target), axis=1).min(axis=0)
        reach = max(min(horizon, series.length // 4), 1)
        origins = origins_of(series.length, reach, _ORIGINS)
        held = (origin for origin in origins if known[origin - 1] >= _FEWEST)
        cuts = (series.length, *held) if covariates.names else (series.length,)
        scaler = Scaler.of(series.target)
        rows = scaler.apply(series.target)
        season = season if series.length >= 2 * season else 1
        effects = tuple(
            np.array([covariates.effect(row, until, season) for row in rows]) * scaler.scale
            for until in cuts
        )
        rest = (replace(alone, target=series.target - each[:, : series.length]) for each in effects)
        plain = (alone for _ in cuts)
        pasts = (*zip(plain, cuts, strict=True), *zip(rest, cuts, strict=True))
        asked = tuple(one.until(until) for one, until in pasts)
        return cls(series, covariates, season, cuts, effects, asked)

    def answer(self, made: Sequence[Forecast]) -> Forecast:
        """Average the two forecasts of the whole series."""
        plain, explained = made[: len(self.cuts)], made[len(self.cuts) :]
        ahead = self.effects[0][:, self.series.length :]
        nothing = [np.zeros_like(effect) for effect in self.effects]
        without, beside = self._errors(plain, nothing), self._errors(explained, self.effects)
        shares = np.array([share_of(*pair) for pair in zip(without, beside, strict=True)])
        mean, quantiles = (
            _blended(one, other, shares)
            for one, other in (
                (plain[0].mean, explained[0].mean + ahead),
                (plain[0].quantiles, explained[0].quantiles + ahead[:, None]),
            )
        )
        notes = notes_on(self.covariates, self.series.length, self.season, float(shares.max()))
        return replace(
            plain[0], mean=mean, quantiles=quantiles, warnings=(*plain[0].warnings, *notes)
        )

    def _errors(self, made: Sequence[Forecast], effects: Sequence[FloatArray]) -> list[float]:
        """Average the absolute errors of each channel over the earlier origins [C]."""
        missed = [np.empty((self.series.num_channels, 0))]
        for until, forecast, effect in zip(self.cuts[1:], made[1:], effects[1:], strict=True):
            came = self.series.target[:, until : until + forecast.mean.shape[1]]
            steps = came.shape[1]
            said = forecast.mean[:, :steps] + effect[:, until : until + steps]
            missed.append(np.abs(came - said))
        rows = np.concatenate(missed, axis=1)
        return [float(np.nanmean(row)) if np.isfinite(row).any() else float("inf") for row in rows]


def _blended(plain: FloatArray, explained: FloatArray, shares: FloatArray) -> FloatArray:
    weights = shares.reshape(-1, *[1] * (plain.ndim - 1))
    blended: FloatArray = (1 - weights) * plain + weights * explained
    return blended


def _without_season(columns: FloatArray, season: int) -> FloatArray:
    """Difference columns [T, K] over a season; without a season, subtract their mean.

    A history of less than three seasons would lose too much, and keeps the season.
    """
    if season < 2 or len(columns) < 3 * season:
        centred: FloatArray = columns - columns.mean(axis=0)
        return centred
    changes: FloatArray = columns[season:] - columns[:-season]
    return changes


def _shrunk(matrix: FloatArray, values: FloatArray) -> FloatArray:
    """Fit a ridge regression [K] without an intercept."""
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    sizes = np.where(sizes > 1e-10 * max(float(sizes.max(initial=0.0)), 1e-300), sizes, 0.0)
    shares = left.T @ values
    penalties = _PENALTIES[:, None] * len(values)
    kept = sizes**2 / (sizes**2 + penalties)  # [penalties, K]
    off = values @ values - (kept * (2 - kept) * shares**2).sum(axis=1)
    freedom = np.maximum(len(values) - 1 - kept.sum(axis=1), 0.5)
    best = int(np.argmin(np.maximum(off, 0.0) / freedom**2))
    slopes: FloatArray = right.T @ (sizes / (sizes**2 + penalties[best]) * shares)
    return slopes
