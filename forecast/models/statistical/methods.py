"""The methods of the library, each fitted once and then continued from any origin."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import statsforecast.models as library

from forecast.core.types import FloatArray
from forecast.models.statistical.history import History

Takes = Literal["none", "first", "all"]


class Method(NamedTuple):
    """How a method is made of the library's parts.

    Attributes:
        make: a model of the library, of a season.
        fewest: steps below which the library refuses, divides by zero, or answers zeros.
        season: which seasons the model itself knows; "none" leaves it a season of 1.
        adjusts: which seasons are taken out before, and put back after.
    """

    make: Callable[[int], Any]
    fewest: int
    season: Takes = "none"
    adjusts: Takes = "none"


METHODS: dict[str, Method] = {
    "naive": Method(lambda _: library.Naive(), 1),
    "seasonal_naive": Method(lambda season: library.SeasonalNaive(season), 1, season="first"),
    "auto_ets": Method(lambda season: library.AutoETS(season), 10, season="first"),
    "auto_theta": Method(lambda season: library.AutoTheta(season), 5, season="first"),
    "auto_ces": Method(lambda season: library.AutoCES(season), 10, season="first"),
    "mstl": Method(lambda _: library.AutoETS(1, model="ZZN"), 10, adjusts="all"),
    # Parts of the combination alone:
    "ets": Method(lambda _: library.AutoETS(1, model="ZZN"), 10),
    "theta": Method(lambda _: library.Theta(1), 5),
    "ces": Method(lambda _: library.AutoCES(1, model="N"), 10),
    "mstl_theta": Method(lambda _: library.Theta(1), 5, adjusts="all"),
    "stl": Method(lambda _: library.AutoETS(1, model="ZZN"), 10, adjusts="first"),
}


class Member(Protocol):
    """A fitted method."""

    @property
    def name(self) -> str: ...

    @property
    def season(self) -> int:
        """Of the library's model; 1 for none."""

    @property
    def state(self) -> Any:
        """What was fitted, to be kept."""

    @property
    def hindsight(self) -> float:
        """What errors at earlier origins are multiplied by, to be as large as those to come.

        They are too small where parameters were found with the steps that are forecast.
        """

    def forecast(self, horizon: int) -> FloatArray:
        """Forecast from the end of what was fitted: [H]."""

    def quantiles(self, horizon: int, levels: Sequence[float]) -> FloatArray:
        """Return the library's own quantiles [Q, H]."""

    def continued(self, history: History, horizon: int) -> FloatArray:
        """Forecast from an earlier origin: [H].

        With the same parameters, few beside the steps that they were found from; of a short
        history with parameters found anew.
        """


_SHORT = 40
_REPEAT = ("naive", "seasonal_naive")
_PARAMETERS = 5  # that a method has, roughly; the coverage of simulated series agrees


def hindsight_of(length: int) -> float:
    """Return the ratio of the errors to come to those of a fit to `length` steps.

    The square root of (n + p) / (n - p), as in the final prediction error (Akaike 1969).
    """
    parameters = min(_PARAMETERS, length / 2)
    return float(np.sqrt((length + parameters) / (length - parameters)))


class CannotFit(Exception):
    """The library could not fit a method to a series."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A method, fitted.

    Attributes:
        season: of the library's model; 1 for none.
        model: of the library, on what the adjustment left.
        length: steps it was fitted to.
        adjusted: the seasons taken out.
        profiles: the last cycle of each of those.
    """

    name: str
    season: int
    model: Any
    length: int = 0
    adjusted: tuple[int, ...] = ()
    profiles: tuple[FloatArray, ...] = ()

    @property
    def state(self) -> Any:
        return self.model.model_

    @property
    def hindsight(self) -> float:
        if self.length <= _SHORT or self.name in _REPEAT:
            return 1.0
        return hindsight_of(self.length)

    def forecast(self, horizon: int) -> FloatArray:
        with library_errors(self.name):
            return self._with_seasons(self.model.predict(h=horizon)["mean"])

    def quantiles(self, horizon: int, levels: Sequence[float]) -> FloatArray:
        with library_errors(self.name):
            answer = self.model.predict(h=horizon, level=central_levels(levels))
            rows = [self._with_seasons(answer[column_of(level)]) for level in levels]
            return np.array(rows).reshape(len(rows), horizon)

    def continued(self, history: History, horizon: int) -> FloatArray:
        with library_errors(self.name):
            if self.length <= _SHORT:
                return fit(self.name, history).forecast(horizon)
            if any(season not in history.seasons for season in self.adjusted[:1]):
                raise CannotFit(f"{self.name} needs two seasons")
            held = tuple(season for season in self.adjusted if season in history.seasons)
            adjusted = history.adjusted(held)
            mean = _continued(self.model, adjusted.values, horizon)
            return finite(mean + adjusted.seasonal(horizon))

    def _with_seasons(self, values: FloatArray) -> FloatArray:
        horizon = len(values)
        seasonal = sum((np.resize(each, horizon) for each in self.profiles), np.zeros(horizon))
        return finite(np.asarray(values, dtype=np.float64) + seasonal)


def fit(name: str, history: History) -> Fitted:
    """Fit a method.

    Raises:
        CannotFit: the library could not, whatever it raised.
    """
    method = METHODS[name]
    if len(history.values) < method.fewest:
        raise CannotFit(f"{name} needs {method.fewest} steps")
    seasons = history.seasons[: {"none": 0, "first": 1, "all": None}[method.adjusts]]
    season = history.seasons[0] if method.season == "first" and history.seasons else 1
    with library_errors(name):
        adjusted = history.adjusted(seasons)
        model = method.make(season).fit(adjusted.values)
        return Fitted(name, season, model, len(history.values), seasons, adjusted.profiles)


def _continued(model: Any, values: FloatArray, horizon: int) -> FloatArray:
    """Let the library's model go on from other values.

    The naive ones have no parameters, and Theta's own way to do it forgets how it took the
    season out.
    """
    if isinstance(model, library.Naive):
        return np.full(horizon, values[-1])
    if isinstance(model, library.SeasonalNaive):
        return np.resize(values[-model.season_length :], horizon)
    if isinstance(model, library.AutoTheta) and model.season_length > 1:
        same = library.AutoTheta(model.season_length, model=model.model_["modeltype"])
        return np.asarray(same.forecast(y=values, h=horizon)["mean"])
    return np.asarray(model.forward(y=values, h=horizon)["mean"])


@contextmanager
def library_errors(name: str) -> Iterator[None]:
    """Turn whatever the library raises into `CannotFit`, and keep still what it warns of.

    A perfect fit has no residuals to divide by, and a search may stop early; what comes of it
    is checked where it is used.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except CannotFit:
            raise
        except Exception as error:  # the library raises bare ones too
            raise CannotFit(f"{name} could not be fitted to this series") from error


def finite(values: FloatArray) -> FloatArray:
    if not np.isfinite(values).all():
        raise CannotFit("the forecast is not finite")
    return values


def central_levels(levels: Sequence[float]) -> list[float]:
    """List, in percent, the central intervals that quantile levels are ends of."""
    return sorted({_central(level) for level in levels})


def column_of(level: float) -> str:
    """Name the library's column of a quantile level: 0.1 → lo-80.0."""
    return f"{'lo' if level < 0.5 else 'hi'}-{_central(level)}"


def _central(level: float) -> float:
    return round(abs(2 * level - 1) * 100, 8)
