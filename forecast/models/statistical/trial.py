"""The default: several methods, weighted by how they did at earlier origins of the series."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from forecast.core.frequency import Frequency
from forecast.core.types import FloatArray
from forecast.models.base.covariate_effects import Covariates, share_of
from forecast.models.base.past_errors import PastErrors, past_errors_of
from forecast.models.statistical.combination import Combination, blended
from forecast.models.statistical.foundation import FOUNDATION, Question, foundations
from forecast.models.statistical.history import History
from forecast.models.statistical.methods import CannotFit, Member, fit

SEASONAL = ("seasonal_naive", "mstl", "mstl_theta", "auto_ces")
PLAIN = ("ets", "theta", "ces")
ALWAYS = ("naive", FOUNDATION)
ORIGINS = 5
_MOST_ORIGINS = 8  # where they can be a block apart
LONGEST = 2000
"""Steps of a history that the combination uses, or six of its longest season."""

_POWER = 3  # of the inverse error; on M4 hourly and the sets beside it 2 to 4 are equally good
_LEAST = 0.01  # a weight below it is none
_CLEARLY = 0.6  # of the naive's error: so good a seasonal method needs no comparison
_BETTER = 0.97  # of the best error without a season: what a season must reach to be believed
_TINY = 1e-9


def single(name: str, target: FloatArray, seasons: tuple[int, ...], *, tried: bool) -> Combination:
    """Fit one method to a series, standardised [T].

    Args:
        tried: at earlier origins too, to learn how far off it is.

    Raises:
        CannotFit: the library could not.
    """
    trial = Trial(target, seasons, tried=tried)
    trial.admit(fit(name, trial.history))
    return trial.weighed((name,))


def combine_with(
    target: FloatArray,
    seasons: tuple[int, ...],
    covariates: Covariates,
    freq: Frequency | None = None,
) -> Combination:
    """Average the forecast without covariates, and that of what they leave unexplained.

    Weights go with the inverse of the mean absolute errors at earlier origins, cubed.
    """
    plain = combine(trial_of(target, seasons, freq=freq))
    if not covariates.names:
        return plain
    explained = combine(trial_of(target, seasons, covariates, freq))
    share = share_of(_mean_error(plain.past), _mean_error(explained.past))
    return blended(plain, explained, share) if share else plain


def effect_ahead(
    target: FloatArray, seasons: tuple[int, ...], covariates: Covariates
) -> FloatArray:
    """Learn what covariates do on the steps ahead, as `combine_with` does."""
    return trial_of(target, seasons, covariates, tried=False).effect


def _mean_error(past: PastErrors) -> float:
    """Return the mean absolute error of the combination, without the naive errors added to it."""
    own = past.errors[: past.origins]
    return float(np.nanmean(np.abs(own))) if np.isfinite(own).any() else float("inf")


def combine(trial: "Trial") -> Combination:
    """Fit the candidates to a series and weigh them.

    Each candidate forecasts the series from earlier origins. Its weight goes with the inverse of
    its mean absolute error there, cubed. The naive and the foundation model are always
    candidates. Where the methods that know the season are not clearly better than the naive,
    those that know none are tried too; if the season does not help by 3 %, it is not used.
    """
    if FOUNDATION not in trial.fitted:
        enter_foundation([trial])
    trial.enter(("naive", *(SEASONAL if trial.history.seasons else PLAIN)))
    if len(trial.history.seasons) > 1:
        trial.enter(("stl",))
    names = list(trial.fitted)
    if trial.history.seasons:
        scores = trial.scores()
        best = min(scores[name] for name in names if name not in ALWAYS)
        if best > _CLEARLY:
            trial.enter(PLAIN)
            scores = trial.scores()
            plain = [name for name in ("naive", *PLAIN) if name in scores]
            if best > _BETTER * min(scores[name] for name in plain):
                names = [name for name in scores if name in {*ALWAYS, *PLAIN}]
    return trial.weighed(names)


def enter_foundation(trials: Sequence["Trial"]) -> None:
    """Let the foundation model forecast several series at once."""
    questions = [Question((each.history, *each.cuts), each.freq, each.block) for each in trials]
    with suppress(CannotFit):
        for trial, fitted in zip(trials, foundations(questions), strict=True):
            trial.admit(fitted)


def trial_of(
    target: FloatArray,
    seasons: tuple[int, ...],
    covariates: Covariates | None = None,
    freq: Frequency | None = None,
    *,
    tried: bool = True,
) -> "Trial":
    """Begin with the recent steps of a series, standardised [T], from an observed one on."""
    longest = max(LONGEST, 6 * max(seasons, default=1))
    skip = max(len(target) - longest, 0)
    skip += int((~np.isnan(target[skip:])).argmax())
    if covariates is not None:
        covariates = replace(covariates, columns=covariates.columns[skip:])
    return Trial(target[skip:], seasons, covariates, freq, tried=tried)


class Trial:
    """Candidates that forecast one series from its end and from earlier origins."""

    def __init__(
        self,
        target: FloatArray,
        seasons: tuple[int, ...],
        covariates: Covariates | None = None,
        freq: Frequency | None = None,
        *,
        tried: bool = True,
    ) -> None:
        self.target = target
        self.freq = freq
        self.covariates = covariates
        length = len(target)
        held = tuple(season for season in seasons if length >= 2 * season)
        origins, self.block = origins_of(length, held)
        self.origins = origins if tried else ()
        self.fitted: dict[str, Member] = {}
        self.points: dict[str, FloatArray] = {}  # [K, B], NaN where it could not forecast
        # Each is learned from the steps before its origin.
        self.effects = [self._effect(until, held) for until in (length, *self.origins)]
        self.history, *self.cuts = [
            History.until(target - effect[:length], until, seasons)
            for until, effect in zip((length, *self.origins), self.effects, strict=True)
        ]

    def _effect(self, until: int, seasons: tuple[int, ...]) -> FloatArray:
        if self.covariates is None:
            return np.zeros(len(self.target))
        return self.covariates.effect(self.target, until, seasons[0] if seasons else 1)

    def enter(self, names: Sequence[str]) -> None:
        """Fit candidates and let them forecast; one that cannot be fitted is none."""
        for name in names:
            with suppress(CannotFit):
                self.admit(fit(name, self.history))

    def admit(self, fitted: Member) -> None:
        """Let a fitted candidate forecast.

        Raises:
            CannotFit: its forecast is not finite.
        """
        fitted.forecast(1)
        tried = zip(self.cuts, self.origins, self.effects[1:], strict=True)
        rows = [
            _tried(fitted, cut, self.block) + effect[origin : origin + self.block]
            for cut, origin, effect in tried
        ]
        self.points[fitted.name] = np.array(rows).reshape(len(rows), self.block)
        self.fitted[fitted.name] = fitted

    def scores(self) -> Mapping[str, float]:
        """Measure the errors of each candidate relative to the naive at the newest origins.

        A candidate that no origin had enough steps for counts as good as the best.
        """
        errors = {name: self._errors(name)[:ORIGINS] for name in self.fitted}
        naive = errors["naive"]
        ratios = {}
        for name, each in errors.items():
            both = np.isfinite(each) & np.isfinite(naive)
            ratios[name] = (each[both].sum() + _TINY) / (naive[both].sum() + _TINY)
            if not both.any():
                ratios[name] = np.nan
        best = float(np.nanmin([*ratios.values(), 1.0]))
        return {name: best if np.isnan(ratio) else ratio for name, ratio in ratios.items()}

    def _errors(self, name: str) -> FloatArray:
        """Return the mean absolute error at each origin [K]; NaN without an observed value."""
        off = np.abs(self._came() - self.points[name])
        known = np.isfinite(off)
        count = known.sum(axis=1)
        means: FloatArray = np.where(known, off, 0).sum(axis=1) / np.where(count, count, np.nan)
        return means

    def _came(self) -> FloatArray:
        padded = np.concatenate([self.target, np.full(self.block, np.nan)])
        times = np.array(self.origins, dtype=int)[:, None] + np.arange(self.block)
        return padded[times]

    def weighed(self, names: Sequence[str]) -> Combination:
        """Combine candidates by their scores."""
        scores = self.scores() if len(names) > 1 else dict.fromkeys(names, 1.0)
        inverse = np.array([1 / max(scores[name], _TINY) for name in names])
        weights = (inverse / inverse.max()) ** _POWER
        weights = np.where(weights < _LEAST * weights.sum(), 0.0, weights)
        weights = weights / weights.sum()
        used = [name for name, weight in zip(names, weights, strict=True) if weight > 0]
        shares = weights[weights > 0]
        points = _averaged([self.points[name] for name in used], shares)
        effect = self.effects[0]
        rest = self.target - effect[: len(self.target)]
        for row, origin in zip(points, self.origins, strict=True):
            row -= effect[origin : origin + self.block]
        seasonal = self.history.seasons and not set(names) <= {*ALWAYS, *PLAIN}
        adjusted = self._adjusted(rest) if seasonal else rest
        season = self.history.seasons[0] if self.history.seasons else 1
        past = past_errors_of(rest, self.origins, list(points), adjusted, season)
        hindsight = [self.fitted[name].hindsight for name in used]
        past.errors[: past.origins] *= shares @ np.array(hindsight)
        members = tuple(self.fitted[name] for name in used)
        ahead = self.effect if self.covariates else None
        return Combination(members, tuple(shares), past, ahead)

    def _adjusted(self, target: FloatArray) -> FloatArray:
        """Take the season out of what was observed."""
        values = np.full(len(target), np.nan)
        values[: len(self.history.values)] = self.history.adjusted(self.history.seasons).values
        return np.where(np.isnan(target), np.nan, values)

    @property
    def effect(self) -> FloatArray:
        """What covariates do on the steps ahead."""
        return self.effects[0][len(self.target) :]


def _averaged(points: Sequence[FloatArray], weights: FloatArray) -> FloatArray:
    """Average what there is of M candidates [K, B], by weights [M]."""
    stacked = np.array(points)  # [M, K, B]
    shares = np.where(np.isfinite(stacked), weights[:, None, None], 0.0)
    total = shares.sum(axis=0)
    summed = (np.nan_to_num(stacked) * shares).sum(axis=0)
    averaged: FloatArray = summed / np.where(total > 0, total, np.nan)
    return averaged


def _tried(fitted: Member, cut: History, block: int) -> FloatArray:
    """Forecast the steps after an origin; NaN where the method cannot.

    A constant goes on, as it does where it is the whole series: parameters that were fitted to
    later changes would be off by a little, and their errors would hide that there were none.
    """
    if np.ptp(cut.values) == 0:
        return np.full(block, cut.values[0])
    try:
        return fitted.continued(cut, cut.gap + block)[cut.gap :]
    except CannotFit:
        return np.full(block, np.nan)


def origins_of(length: int, seasons: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Choose origins, latest first, and how many steps to forecast from each.

    A block is one season (two where there is a longer season too), at least eight steps and at
    most a quarter of the history. Origins are a block apart where there is room for five, up to
    eight, and leave half of the history and, where that leaves an eighth of it, two seasons and a
    step.
    """
    season = seasons[0] if seasons else 1
    block = season * -(-8 // season) * (2 if len(seasons) > 1 else 1)
    block = max(min(block, length // 4), 1)
    first = -(-length // 2)
    for held in seasons:
        if length - 2 * held - 1 >= max(length // 8, 1):
            first = max(first, 2 * held + 1)
    block = min(block, length - first)
    if block < 1:
        return (), 1
    last = length - block
    count = min(max((last - first) // block + 1, ORIGINS), _MOST_ORIGINS)
    stride = max(1, min(block, (last - first) // (count - 1)))
    origins = (last - stride * index for index in range(count))
    return tuple(origin for origin in origins if origin >= first), block
