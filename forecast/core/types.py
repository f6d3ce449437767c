"""What travels between the layers: a series, what to forecast of it, and the forecast.

Axes, project-wide: N series, C channels, T past steps, H horizon, Q quantile levels.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from forecast.core.clock import utc_of
from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency, Timestamps
from forecast.core.labels import Label, known_from

FloatArray = npt.NDArray[np.floating[Any]]
CovariateArray = npt.NDArray[Any]  # float64, or fixed-width strings for a categorical one
Intervals = Literal["conformal", "native"]
"""Quantiles calibrated on errors of the past, or those of the model itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series on a regular grid of time, with what is known beside it.

    Arrays are never written to: several readers share them.

    Attributes:
        target: [C, T] float64; NaN is missing.
        channels: names of the C channels; empty for a univariate series.
        start: time of the first step (datetime64[s]), or None where time is not known.
        past_covariates: name → [T].
        future_covariates: name → [H]; each name stands in `past_covariates` too.
        static_covariates: name → number or category.
        clock: the clock that the times are read from (`UTC`, an offset such as `+09:00`, a
            zone such as `Europe/Berlin`); None where the caller's times had no offset.
        label: what a timestamp says of its period; None for what is usual at the frequency.
    """

    target: FloatArray
    item_id: str = "0"
    channels: tuple[str, ...] = ()
    start: np.datetime64 | None = None
    freq: Frequency | None = None
    past_covariates: Mapping[str, CovariateArray] = field(default_factory=dict)
    future_covariates: Mapping[str, CovariateArray] = field(default_factory=dict)
    static_covariates: Mapping[str, float | str] = field(default_factory=dict)
    clock: str | None = None
    label: Label | None = None

    @property
    def length(self) -> int:
        return int(self.target.shape[1])

    @property
    def num_channels(self) -> int:
        return int(self.target.shape[0])

    @property
    def season_length(self) -> int:
        """Steps in the usual season of the frequency; 1 where the frequency is not known."""
        return self.freq.season_length if self.freq else 1

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps in the usual seasons of the frequency, shortest first; empty where it has none."""
        return self.freq.seasons if self.freq else ()

    @property
    def past_timestamps(self) -> Timestamps | None:
        """Times of the T steps, or None where time is not known."""
        if self.start is None or self.freq is None:
            return None
        return self.freq.timestamps(self.start, self.length)

    def future_timestamps(self, horizon: int) -> Timestamps | None:
        """Times of the `horizon` steps after the last, or None where time is not known."""
        if self.start is None or self.freq is None:
            return None
        return self.freq.timestamps(self.start, horizon, skip=self.length)

    @property
    def known_from(self) -> Timestamps | None:
        """When, in UTC, each of the T steps is known; None where time is not known.

        That is when its period is over on the clock of the series.
        """
        times = self.past_timestamps
        if times is None or self.freq is None:
            return None
        return utc_of(known_from(times, self.freq, self.label), self.clock)

    def steps_until(self, moment: np.datetime64) -> int:
        """Count the steps that are known at a moment.

        Raises:
            InvalidRequest: the series does not say when its steps are.
        """
        known = self.known_from
        if known is None:
            raise InvalidRequest(
                f"{self.item_id!r} has no times, so nothing can be cut at"
                f" {moment.astype('datetime64[D]')}; send start and freq, or timestamps"
            )
        return int(np.searchsorted(known, moment.astype("datetime64[s]"), side="right"))

    def until(self, end: int | np.datetime64, horizon: int = 0) -> "Series":
        """Keep what was known at a moment, or the first steps: the one place that cuts in time.

        What is left, which may be nothing, holds no value of a later step.

        Args:
            end: a moment, or a number of steps.
            horizon: steps after the end for which covariates known ahead are kept, to forecast
                with; 0, for training, keeps their names and none of their values.

        Raises:
            InvalidRequest: a moment is given, and the series does not say when its steps are.
        """
        steps = self.steps_until(end) if isinstance(end, np.datetime64) else end
        past = self.past_covariates
        return replace(
            self,
            target=self.target[:, :steps],
            past_covariates={name: values[:steps] for name, values in past.items()},
            future_covariates={
                name: np.concatenate([past[name][steps:], values])[:horizon]
                for name, values in self.future_covariates.items()
            },
        )

    def last(self, steps: int) -> "Series":
        """Keep the last `steps` steps; the future is untouched."""
        skip = self.length - steps
        if skip <= 0:
            return self
        start = self.start
        if start is not None and self.freq is not None:
            start = self.freq.timestamps(start, 1, skip=skip)[0]
        return replace(
            self,
            target=self.target[:, skip:],
            start=start,
            past_covariates={name: past[skip:] for name, past in self.past_covariates.items()},
        )

    @property
    def layout(self) -> Hashable:
        """What must be equal for two series to share one call of a model."""
        return (
            self.num_channels,
            _kinds(self.past_covariates),
            tuple(sorted(self.future_covariates)),
            tuple(sorted(self.static_covariates)),
        )


def _kinds(covariates: Mapping[str, CovariateArray]) -> tuple[tuple[str, bool], ...]:
    return tuple(sorted((name, is_categorical(past)) for name, past in covariates.items()))


def is_categorical(values: CovariateArray) -> bool:
    """Whether a covariate holds categories rather than numbers."""
    return bool(values.dtype.kind in "UO")


@dataclass(frozen=True, slots=True)
class ForecastTask:
    """What is asked of every series of a batch. Hashable: equal tasks may share a call.

    Attributes:
        quantile_levels: strictly increasing, each in (0, 1); empty for a point forecast.
        context_length: use only the last so many steps; None for all the model can use.
        num_samples: paths that a sampling model draws; None for its default.
        options: the model's own options, a hashable instance of its spec's `options`; None
            for the defaults, which the base puts in before a family sees the task.
        intervals: `conformal` calibrates quantiles in every family, `native` in none; None does
            what is usual in the family.
    """

    horizon: int
    quantile_levels: tuple[float, ...] = (0.1, 0.5, 0.9)
    context_length: int | None = None
    num_samples: int | None = None
    seed: int = 0
    options: Any = None
    intervals: Intervals | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """The forecast of one series.

    Attributes:
        mean: [C, H], the model's point forecast.
        quantiles: [C, Q, H], increasing along Q; Q may be 0.
        quantile_levels: the Q levels, strictly increasing.
        warnings: what the caller should know of how this was made.
        intervals: how the quantiles were made; None where there are none.
        methods: method → weight of a combination; the weights sum to 1. Empty for a family
            that has only one method.
    """

    mean: FloatArray
    quantiles: FloatArray
    quantile_levels: tuple[float, ...]
    warnings: tuple[str, ...] = ()
    intervals: Intervals | None = None
    methods: Mapping[str, float] = field(default_factory=dict)

    def after(self, steps: int) -> "Forecast":
        """Leave out the first `steps` steps."""
        if steps == 0:
            return self
        return replace(self, mean=self.mean[:, steps:], quantiles=self.quantiles[:, :, steps:])

    def first(self, horizon: int) -> "Forecast":
        """Keep the first `horizon` steps."""
        if horizon >= self.mean.shape[1]:
            return self
        return replace(self, mean=self.mean[:, :horizon], quantiles=self.quantiles[:, :, :horizon])
