"""Known-ahead covariates for models that take none: a ridge regression in the context.

Each series is fitted alone, so nothing leaks across a batch. The two orders, the standardised
columns and the penalised intercept are those of the regressor route that TimesFM ships
(`timesfm.utils.xreg_lib`), whose authors describe it in the model's repository.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import CovariateArray, FloatArray, Series, is_categorical
from forecast.models.base.config import ModelOptions
from forecast.models.base.scaling import Scaler, interpolate, standardize

Rows = npt.NDArray[np.bool_]

MAX_COLUMNS = 1000
_FLOAT32_STEP = float(np.finfo(np.float32).eps)


class RegressionOptions(ModelOptions):
    """How covariates enter a forecast; without covariates these change nothing.

    Attributes:
        xreg_mode: `xreg + timesfm` explains the target by the covariates and lets the model
            forecast what is left; `timesfm + xreg` explains what the model got wrong within
            the context.
        ridge: the penalty on the standardised columns; 0 is ordinary least squares.
    """

    xreg_mode: Literal["xreg + timesfm", "timesfm + xreg"] = Field(
        "xreg + timesfm",
        description="Regress, then forecast the rest; or forecast, then regress its errors.",
    )
    ridge: float = Field(
        0.0, ge=0, le=1e9, description="Ridge penalty on the standardised covariates."
    )

    @property
    def corrects(self) -> bool:
        """Whether the model forecasts first and its errors are explained after."""
        return self.xreg_mode == "timesfm + xreg"


class Decoded(NamedTuple):
    """What a model says of one series.

    Attributes:
        heads: [H, K], K outputs of each step of the horizon, such as mean and quantiles.
        backcast: [B], its own forecast of the last B past steps; empty unless asked for.
    """

    heads: FloatArray
    backcast: FloatArray


Decode = Callable[[Sequence[FloatArray], bool], list[Decoded]]
"""Forecast complete univariate targets [T]; the flag asks for backcasts too."""


def standardised_decode(
    decode: Decode, targets: Sequence[FloatArray], backcast: bool
) -> list[Decoded]:
    """Standardise targets in float64 for a network in float32, and bring its answers back."""
    pairs = [standardize(target) for target in targets]
    rows = [row for row, _ in pairs]
    return [
        Decoded(scaler.restore(one.heads), scaler.restore(one.backcast))
        for (_, scaler), one in zip(pairs, decode(rows, backcast), strict=True)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A regression on one series, in units of the standardised target.

    Attributes:
        past: [T], what it says of the context.
        future: [H], what it says of the horizon.
        center: mean of the target fitted on.
        scale: its standard deviation, or 1 where it is flat.
    """

    past: FloatArray
    future: FloatArray
    center: float
    scale: float


def check_regression(series: Series, options: RegressionOptions, steps: int, patch: int) -> None:
    """Refuse what the regression cannot do, before it costs anything.

    Args:
        steps: the most past steps used.
        patch: the first steps of a context, of which the model makes no backcast.

    Raises:
        InvalidRequest: too many categories, or no step left to learn the model's errors from.
        BadData: a covariate holds no observed value.
    """
    if not series.future_covariates:
        return
    used = observed_part(series.last(steps))
    columns = len(used.future_covariates) + sum(
        len(np.unique(used.past_covariates[name])) for name in _categorical(used)
    )
    if columns > MAX_COLUMNS:
        raise InvalidRequest(
            f"the covariates of series {series.item_id!r} make {columns} columns of a regression;"
            f" at most {MAX_COLUMNS} are fitted: merge rare categories"
        )
    for name in set(used.future_covariates) - set(_categorical(used)):
        _complete(used, name)
    if options.corrects and not _rows(used)[patch:].any():
        raise InvalidRequest.field(
            "/parameters/model_options/xreg_mode",
            f"'timesfm + xreg' needs at least {patch + 1} past steps, one observed after the"
            f" first {patch}; series {series.item_id!r} has {used.length} steps",
        )


def observed_part(series: Series) -> Series:
    """Drop the steps of a univariate series before its first observed one.

    Raises:
        BadData: nothing is observed.
    """
    rows = _rows(series)
    if not rows.any():
        raise BadData(
            f"series {series.item_id!r} holds no observed value in the last {series.length}"
            " steps; lengthen context_length"
        )
    return series.last(series.length - int(rows.argmax()))


def forecast_with_covariates(
    batch: Sequence[Series], horizon: int, options: RegressionOptions, decode: Decode
) -> list[FloatArray]:
    """Forecast univariate series, each with its own regression where it has covariates.

    Args:
        batch: N series of one layout of covariates, as `observed_part` leaves them.

    Returns:
        N arrays [H, K], the heads of `decode` moved by what the covariates say.
    """
    if not batch[0].future_covariates:
        return [decoded.heads for decoded in decode(_targets(batch), False)]
    if options.corrects:
        return _errors_explained(batch, horizon, options.ridge, decode)
    return _rest_forecast(batch, horizon, options.ridge, decode)


def _rest_forecast(
    batch: Sequence[Series], horizon: int, ridge: float, decode: Decode
) -> list[FloatArray]:
    """`xreg + timesfm`: regress the target, forecast the residual, add the regression back."""
    fits = [fit(series, series.target[0], horizon, ridge) for series in batch]
    residuals = [
        interpolate((series.target[0] - each.center) / each.scale - each.past)
        for series, each in zip(batch, fits, strict=True)
    ]
    return [
        (decoded.heads + each.future[:, None]) * each.scale + each.center
        for decoded, each in zip(decode(residuals, False), fits, strict=True)
    ]


def _errors_explained(
    batch: Sequence[Series], horizon: int, ridge: float, decode: Decode
) -> list[FloatArray]:
    """`timesfm + xreg`: forecast the target, regress the errors of the backcast, add that."""
    answers = []
    for series, decoded in zip(batch, decode(_targets(batch), True), strict=True):
        known = series.last(len(decoded.backcast))
        each = fit(known, known.target[0] - decoded.backcast, horizon, ridge)
        correction = each.future * each.scale + each.center
        answers.append(decoded.heads + correction[:, None])
    return answers


def fit(series: Series, target: FloatArray, horizon: int, ridge: float) -> Fit:
    """Regress a target on the known-ahead covariates of its series.

    beta = (X'X + ridge I)^+ X'y over the observed steps, y and the columns of X standardised
    over them; the intercept is penalised with the rest. Categories are one column each, less
    the first where there is no penalty to share their effect out.

    Args:
        target: [T] in any unit; NaN steps are left out.
        horizon: H.
    """
    rows = ~np.isnan(target)
    center, scale = _moments(target[rows])
    x = _design(series, rows, horizon, drop_first=ridge == 0)  # [T + H, K]
    known = x[: len(target)][rows]
    gram = known.T @ known + ridge * np.eye(x.shape[1])
    # Columns that differ by less than float32 could tell count as one, as in the reference.
    cutoff = 10 * x.shape[1] * _FLOAT32_STEP
    inverse = np.linalg.pinv(gram, rcond=cutoff, hermitian=True)
    says = x @ (inverse @ (known.T @ ((target[rows] - center) / scale)))
    return Fit(says[: len(target)], says[len(target) :], center, scale)


def _design(series: Series, rows: Rows, horizon: int, *, drop_first: bool) -> FloatArray:
    """Make the columns of a regression: [T + H, K], the intercept first.

    Args:
        rows: [T], the past steps that standardise a column and name its categories.
    """
    blocks = [np.ones((len(rows) + horizon, 1))]
    for name in sorted(series.future_covariates):
        values = _values(series, name)
        known = values[: len(rows)][rows]
        if is_categorical(values):
            categories = np.unique(known)[int(drop_first) :]
            blocks.append((values[:, None] == categories).astype(float))
        else:
            center, scale = _moments(known)
            blocks.append(((values - center) / scale)[:, None])
    return np.concatenate(blocks, axis=1)


def _categorical(series: Series) -> list[str]:
    futures = series.future_covariates
    return [name for name in futures if is_categorical(series.past_covariates[name])]


def _values(series: Series, name: str) -> CovariateArray:
    """Read a covariate over the T + H steps, complete."""
    if is_categorical(series.past_covariates[name]):
        return _joined(series, name)
    return _complete(series, name)


def _joined(series: Series, name: str) -> CovariateArray:
    return np.concatenate([series.past_covariates[name], series.future_covariates[name]])


def _complete(series: Series, name: str) -> FloatArray:
    """Join past and future of a numeric covariate, gaps on a straight line: [T + H]."""
    values = _joined(series, name).astype(float)
    if np.isnan(values).all():
        raise BadData(f"covariate {name!r} of series {series.item_id!r} holds no observed value")
    return interpolate(values)


def _moments(values: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation, the latter 1 where the values are flat."""
    scaler = Scaler.of(values)
    return scaler.center.item(), scaler.scale.item() or 1.0


def _targets(batch: Sequence[Series]) -> list[FloatArray]:
    return [interpolate(series.target[0]) for series in batch]


def _rows(series: Series) -> Rows:
    rows: Rows = ~np.isnan(series.target[0])
    return rows
