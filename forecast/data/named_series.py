"""Read a named-file request: its file → series, its parameters → a task."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.clock import LocalTimes
from forecast.core.errors import BadData, InvalidRequest
from forecast.core.frequency import Frequency, Timestamps
from forecast.core.labels import Label
from forecast.core.types import CovariateArray, FloatArray, ForecastTask, Series, is_categorical
from forecast.core.validation import excerpt, member, validated_options
from forecast.data.inputs import check_budget
from forecast.data.named_file import NamedFileParameters, NamedFileRequest, Role
from forecast.data.parameters import checked_levels, horizon_of, read_moment, wanted_of
from forecast.data.policy import DataPolicy
from forecast.data.tables import category_column, constant_of, number_column, time_column
from forecast.data.time_axis import TimeAxis, axis_from_times, inferred
from forecast.data.times import read_time
from forecast.models.spec import ModelSpec

DATE = "date"
_SOURCE = "/data_source_url_or_path"
_BEGIN = "/parameters/context_start_date"
_END = "/parameters/context_end_date"
_DECILES = tuple(round(0.1 * decile, 1) for decile in range(1, 10))
_DEFAULT_BANDS = (1, 3, 5, 7, 9)
_TEXT_ROLES = frozenset({"dynamic_categorical", "static_categorical"})


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """The rows of the context, in order, and the steps after it.

    Attributes:
        context: [n] rows of the file.
        axis: the grid of the context.
        future: [H] rows of the file, -1 where it has none.
        future_times: [H].
    """

    context: npt.NDArray[np.intp]
    axis: TimeAxis
    future: npt.NDArray[np.intp]
    future_times: Timestamps


def text_columns(request: NamedFileRequest) -> frozenset[str]:
    """Name the columns that are text, whatever they look like."""
    roles = request.data_definition
    return frozenset(
        {*(name for name in roles if roles[name] in _TEXT_ROLES), DATE, "Date", "DATE"}
    )


def series_of_file(
    frame: pd.DataFrame, request: NamedFileRequest, horizon: int, policy: DataPolicy
) -> tuple[tuple[Series, ...], tuple[FloatArray, ...], tuple[str, ...]]:
    """Make a series of each target, and tell what the file knows after each.

    Raises:
        BadData: there is no `date` column, or nothing in the context.
        InvalidRequest: a column is missing or not what it is said to be, dates are irregular
            or repeat, or a covariate has no value for a step of the horizon.
    """
    roles = _checked_roles(frame, request)
    names = [name for name, role in roles.items() if role == "target"]
    targets = np.stack([number_column(frame, name) for name in names])  # [N, R]
    times = time_column(frame, _date_column(frame))
    window = _window(times, targets, request, horizon, policy)
    check_budget(policy.max_points - window.axis.length * len(names), policy)
    past, future, static = _covariates(frame, request, window)
    read = tuple(
        Series(
            target=window.axis.spread(targets[index, window.context])[None, :],
            item_id=name,
            start=window.axis.start,
            freq=window.axis.freq,
            past_covariates=past,
            future_covariates=future,
            static_covariates=static,
            clock=window.axis.clock,
            label=request.label,
        )
        for index, name in enumerate(names)
    )
    known = tuple(_known(values, window.future) for values in targets)
    if (context_len := request.parameters.context_len) is not None:
        read = tuple(series.last(context_len) for series in read)
    return read, known, _warnings(window, request)


def _checked_roles(frame: pd.DataFrame, request: NamedFileRequest) -> dict[str, Role]:
    roles = request.data_definition
    for name in roles:
        if name not in frame.columns:
            known = ", ".join(map(str, frame.columns[:20]))
            raise InvalidRequest.field(
                member("/data_definition", name), f"the file has no such column; it has {known}"
            )
    if "target" not in roles.values():
        raise InvalidRequest.field("/data_definition", "name at least one column as target")
    for index, name in enumerate(request.known_future):
        if not roles.get(name, "").startswith("dynamic"):
            raise InvalidRequest.field(
                member("/known_future", index),
                f"{excerpt(name)} is no dynamic column of data_definition",
            )
    return roles


def _date_column(frame: pd.DataFrame) -> str:
    found = [name for name in map(str, frame.columns) if name.lower() == DATE]
    if len(found) != 1:
        known = ", ".join(map(str, frame.columns[:20]))
        raise BadData(f"the file needs one column named {DATE!r}; it has {known}")
    return found[0]


def _window(
    times: LocalTimes,
    targets: FloatArray,
    request: NamedFileRequest,
    horizon: int,
    policy: DataPolicy,
) -> _Window:
    order = np.argsort(times.utc, kind="stable")
    ordered = times[order]
    freq = _frequency(ordered)
    observed = np.atleast_1d(np.isfinite(targets[:, order]).any(axis=0))
    begin, end = _bounds(ordered, observed, request.parameters)
    count = end - begin
    axis = axis_from_times(ordered[begin:], freq, _SOURCE, most=policy.max_points, past=count)
    as_of = wanted_of(request.parameters).as_of
    if as_of is not None:
        end = begin + _rows_known(axis, as_of, request.label, count)
        _check_observed(observed[begin:end], ordered.wall)
        count = end - begin
        axis = axis_from_times(ordered[begin:], freq, _SOURCE, most=policy.max_points, past=count)
    assert axis.start is not None
    assert axis.freq is not None
    assert axis.ahead is not None
    future = np.full(horizon, -1)
    steps = axis.ahead - axis.length
    near = steps < horizon
    future[steps[near]] = order[end:][near]
    future_times = axis.freq.timestamps(axis.start, horizon, skip=axis.length)
    return _Window(order[begin:end], axis, future, future_times)


def _frequency(ordered: LocalTimes) -> Frequency:
    """Infer the frequency from all dates of the file, not only those of the context."""
    twice = np.flatnonzero(np.diff(ordered.utc).astype(np.int64) == 0)
    if twice.size:
        raise InvalidRequest.field(_SOURCE, f"two rows have the date {ordered.wall[twice[0]]}")
    try:
        return inferred([ordered], _SOURCE)
    except InvalidRequest as error:
        raise InvalidRequest.field(
            _SOURCE, "the dates follow no regular step, or are fewer than 3"
        ) from error


def _bounds(
    ordered: LocalTimes,
    observed: npt.NDArray[np.bool_],
    parameters: NamedFileParameters,
) -> tuple[int, int]:
    """Find the rows of the context: from one, up to and without the other.

    A bound without an offset is a time of the clock that the dates are of.
    """
    begin = 0
    if parameters.context_start_date is not None:
        first, has_offset = read_time(parameters.context_start_date, _BEGIN)
        begin = int(np.searchsorted(ordered.utc if has_offset else ordered.wall, first))
    if (text := parameters.context_end_date) is not None and not _ends_late(parameters):
        last = read_moment(text, _END)
        dates = ordered.utc if read_time(text, _END)[1] else ordered.wall
        end = int(np.searchsorted(dates, last, side="right"))
    else:
        known = np.flatnonzero(observed)
        end = int(known[-1]) + 1 if known.size else 0
    _check_observed(observed[begin:end], ordered.wall)
    return begin, end


def _check_observed(observed: npt.NDArray[np.bool_], ordered: Timestamps) -> None:
    if not observed.any():
        raise BadData(
            "no target is observed in the context; the dates of the file run from"
            f" {ordered[0]} to {ordered[-1]}"
        )


def _rows_known(axis: TimeAxis, as_of: np.datetime64, label: Label | None, rows: int) -> int:
    """Count the rows of a context that are known at a moment."""
    grid = Series(
        np.empty((1, axis.length)),
        start=axis.start,
        freq=axis.freq,
        clock=axis.clock,
        label=label,
    )
    positions = np.arange(rows) if axis.positions is None else axis.positions
    return int(np.searchsorted(positions, grid.steps_until(as_of)))


def _covariates(
    frame: pd.DataFrame, request: NamedFileRequest, window: _Window
) -> tuple[dict[str, CovariateArray], dict[str, CovariateArray], dict[str, float | str]]:
    past: dict[str, CovariateArray] = {}
    future: dict[str, CovariateArray] = {}
    static: dict[str, float | str] = {}
    used = request.data_definition if request.parameters.use_covariates else {}
    for name, role in used.items():
        if role == "target":
            continue
        read = category_column if role in _TEXT_ROLES else number_column
        values = read(frame, name)
        if role.startswith("static"):
            static[name] = constant_of(
                values[window.context], name, "the file", member("/data_definition", name)
            )
            continue
        past[name] = window.axis.spread(values[window.context])
        if name in request.known_future:
            future[name] = _future(values, name, window)
    return past, future, static


def _future(values: CovariateArray, name: str, window: _Window) -> CovariateArray:
    taken = values[window.future]
    blank = taken == "" if is_categorical(values) else np.isnan(taken)
    missing = blank | (window.future < 0)
    if missing.any():
        raise InvalidRequest.field(
            member("/data_definition", name),
            f"covariate {name!r} has no value for {window.future_times[missing.argmax()]};"
            f" it needs one for each of the {len(taken)} steps after the context."
            " Extend the file, or take the column out of known_future",
        )
    return taken


def _known(values: FloatArray, future: npt.NDArray[np.intp]) -> FloatArray:
    """Take what the file knows of the steps after the context, up to the last it knows."""
    taken = np.where(future >= 0, values[future], np.nan)
    known = np.flatnonzero(~np.isnan(taken))
    return taken[: int(known[-1]) + 1 if known.size else 0]


def _warnings(window: _Window, request: NamedFileRequest) -> tuple[str, ...]:
    warnings = window.axis.notes("the file")
    asked = request.parameters.context_len
    if asked is not None and asked > window.axis.length:
        warnings.append(f"the context has {window.axis.length} steps, not the {asked} asked")
    if _ends_late(request.parameters):
        end, as_of = request.parameters.context_end_date, request.parameters.as_of
        warnings.append(f"the context is cut at as_of, {as_of}; context_end_date, {end}, is later")
    return tuple(warnings)


def _ends_late(parameters: NamedFileParameters) -> bool:
    """Whether the context would end after `as_of`, which then ends it."""
    end, as_of = parameters.context_end_date, wanted_of(parameters).as_of
    return end is not None and as_of is not None and bool(read_moment(end, _END) > as_of)


def named_task(
    parameters: NamedFileParameters, spec: ModelSpec, default_horizon: int | None
) -> tuple[ForecastTask, tuple[int, ...]]:
    """Make the task, and name the columns that bound the bands.

    Raises:
        InvalidRequest: no horizon, a level or index that is none, an option the model lacks.
    """
    has_quantiles = spec.capabilities.quantiles != "none"
    wanted = has_quantiles if parameters.use_quantiles is None else parameters.use_quantiles
    if wanted and not has_quantiles:
        raise InvalidRequest.field(
            "/parameters/use_quantiles", "this model makes point forecasts only; send false"
        )
    levels: tuple[float, ...] = ()
    if wanted:
        levels = (
            _DECILES
            if parameters.quantiles is None
            else checked_levels(parameters.quantiles, "/parameters/quantiles")
        )
    task = ForecastTask(
        horizon=horizon_of(parameters.horizon_len, default_horizon, "/parameters/horizon_len"),
        quantile_levels=levels,
        seed=parameters.seed,
        intervals=parameters.intervals,
        options=validated_options(
            spec.options, parameters.model_options, "/parameters/model_options"
        ),
    )
    return task, _band_indices(parameters, len(levels)) if wanted else ()


def _band_indices(parameters: NamedFileParameters, levels: int) -> tuple[int, ...]:
    if parameters.quantile_indices is None:
        return _DEFAULT_BANDS if parameters.quantiles is None else tuple(range(1, levels + 1))
    for position, index in enumerate(parameters.quantile_indices):
        if not 0 <= index <= levels:
            raise InvalidRequest.field(
                member("/parameters/quantile_indices", position),
                f"{index} is not between 0 (the mean) and {levels}, the highest level",
            )
    return tuple(sorted(set(parameters.quantile_indices) - {0}))
