"""Tables in long format, one row a time step of an item → Series."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.clock import LocalTimes
from forecast.core.errors import BadData, FieldError, InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.types import CovariateArray, FloatArray, Series, is_categorical
from forecast.core.validation import invalid
from forecast.data.inputs import Ahead, SeriesBatch, check_budget, check_series_count
from forecast.data.policy import DataPolicy
from forecast.data.tables import (
    TableSchema,
    constant_of,
    covariate_column,
    number_column,
    text_column,
    time_column,
)
from forecast.data.time_axis import (
    TimeAxis,
    axis_from_times,
    check_horizon,
    frequency,
    inferred,
)


@dataclass(frozen=True, slots=True)
class _Table:
    """The columns of a table as arrays, ordered by item and time.

    Attributes:
        targets: [C, R].
        times: [R], or None.
    """

    targets: FloatArray
    times: LocalTimes | None
    past: dict[str, CovariateArray]
    future: dict[str, CovariateArray]
    static: dict[str, CovariateArray]


@dataclass(frozen=True, slots=True)
class _Item:
    """The rows of one item: those of the past, then those known ahead."""

    item_id: str
    rows: slice
    past_rows: int


def batch_of_table(
    frame: pd.DataFrame,
    schema: TableSchema,
    horizon: int,
    policy: DataPolicy,
    *,
    is_to_be_cut: bool = False,
) -> SeriesBatch:
    """Make series of a table.

    Args:
        is_to_be_cut: an item may then end before what is known ahead covers the horizon.

    Raises:
        BadData: an item has no observed target.
        InvalidRequest: a column is missing or holds something else; rows repeat, are off the
            grid, or do not cover the horizon.
        TooLarge: more items or points than allowed.
    """
    if frame.empty:
        raise BadData("the table has no rows")
    unused = _check_columns(frame, schema)
    codes, ids = _items(frame, schema)
    check_series_count(len(ids), policy)
    table, codes = _ordered(frame, schema, codes)
    items = list(_split(table, codes, ids, known_ahead=bool(schema.future_covariates)))
    freq = _frequency(table, items, schema)
    read: list[Series] = []
    warnings = [f"not in the schema, so not used: {', '.join(unused)}"] if unused else []
    budget = policy.max_points
    ahead = Ahead.of(horizon, is_to_be_cut=is_to_be_cut)
    for item in items:
        axis = _axis(table, item, freq, horizon, budget)
        series = _series(table, item, schema, ahead, axis)
        budget -= series.target.size
        check_budget(budget, policy)
        warnings += axis.notes(f"series {item.item_id!r}")
        read.append(series)
    return SeriesBatch(tuple(read), tuple(warnings))


def _check_columns(frame: pd.DataFrame, schema: TableSchema) -> list[str]:
    """Refuse columns that are missing or named twice; list those that are not used."""
    named = [
        *((f"/schema/{role}", getattr(schema, role)) for role in ("timestamp", "item_id")),
        *(("/schema/target", name) for name in schema.targets),
        *(
            (f"/schema/{role}", name)
            for role in ("past_covariates", "future_covariates", "static_covariates")
            for name in getattr(schema, role)
        ),
    ]
    named = [(pointer, name) for pointer, name in named if name is not None]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for pointer, name in named:
        if name not in frame.columns:
            known = ", ".join(map(str, frame.columns[:20]))
            errors.append(FieldError(pointer, f"there is no column {name!r}; there are {known}"))
        elif name in seen:
            errors.append(FieldError(pointer, f"column {name!r} is named twice"))
        seen.add(name)
    if not schema.targets:
        errors.append(FieldError("/schema/target", "name at least one column"))
    if errors:
        raise invalid(errors)
    return [str(name) for name in frame.columns if name not in seen]


def _items(frame: pd.DataFrame, schema: TableSchema) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Number the item of each row [R], in order of appearance, and list their ids."""
    if schema.item_id is None:
        return np.zeros(len(frame), dtype=np.intp), ["0"]
    texts = text_column(frame, schema.item_id)
    if None in texts:
        row = texts.index(None) + 1
        raise InvalidRequest(f"column {schema.item_id!r}, row {row} of the data: has no item id")
    codes, ids = pd.factorize(np.array(texts, dtype=object))
    return codes, [str(item_id) for item_id in ids]


def _ordered(
    frame: pd.DataFrame, schema: TableSchema, codes: npt.NDArray[np.intp]
) -> tuple[_Table, npt.NDArray[np.intp]]:
    times = None if schema.timestamp is None else time_column(frame, schema.timestamp)
    order = np.argsort(codes, kind="stable") if times is None else np.lexsort((times.utc, codes))
    known = [*schema.past_covariates, *schema.future_covariates]
    table = _Table(
        targets=np.stack([number_column(frame, name) for name in schema.targets])[:, order],
        times=None if times is None else times[order],
        past={name: covariate_column(frame, name)[order] for name in known},
        future={name: covariate_column(frame, name)[order] for name in schema.future_covariates},
        static={name: covariate_column(frame, name)[order] for name in schema.static_covariates},
    )
    return table, codes[order]


def _split(
    table: _Table, codes: npt.NDArray[np.intp], ids: Sequence[str], *, known_ahead: bool
) -> Iterator[_Item]:
    """Cut the ordered rows into items; rows after the last observed target are the future."""
    bounds = np.searchsorted(codes, np.arange(len(ids) + 1))
    for index, item_id in enumerate(ids):
        rows = slice(int(bounds[index]), int(bounds[index + 1]))
        count = rows.stop - rows.start
        if not known_ahead:
            yield _Item(item_id, rows, count)
            continue
        observed = np.flatnonzero(~np.isnan(table.targets[:, rows]).all(axis=0))
        if observed.size == 0:
            raise BadData(f"series {item_id!r} holds no observed value")
        yield _Item(item_id, rows, int(observed[-1]) + 1)


def _series(
    table: _Table,
    item: _Item,
    schema: TableSchema,
    ahead: Ahead,
    axis: TimeAxis,
) -> Series:
    begin, end = item.rows.start, item.rows.start + item.past_rows
    past, future = slice(begin, end), slice(end, item.rows.stop)
    if schema.future_covariates:
        _check_future(table, item, axis, future, ahead)
    return Series(
        target=axis.spread(table.targets[:, past]),
        item_id=item.item_id,
        channels=() if isinstance(schema.target, str) else tuple(schema.target),
        start=axis.start,
        freq=axis.freq,
        past_covariates={n: axis.spread(values[past]) for n, values in table.past.items()},
        future_covariates={n: values[future] for n, values in table.future.items()},
        static_covariates={
            name: constant_of(
                values[item.rows], name, f"series {item.item_id!r}", "/schema/static_covariates"
            )
            for name, values in table.static.items()
        },
        clock=axis.clock,
        label=schema.label,
    )


def _frequency(
    table: _Table, items: Sequence[_Item], schema: TableSchema
) -> str | Frequency | None:
    """Take the frequency that is sent, or the one that explains the times of all items."""
    if schema.freq is not None:
        frequency(schema.freq, "/schema")
        return schema.freq
    if table.times is None:
        return None
    parts = [table.times[item.rows] for item in items]
    for item, times in zip(items, parts, strict=True):
        _check_unique(times, item.item_id)
    return inferred(parts, "/schema/timestamp")


def _axis(
    table: _Table, item: _Item, freq: str | Frequency | None, horizon: int, most: int
) -> TimeAxis:
    if table.times is None or freq is None:
        return TimeAxis(item.past_rows, freq=frequency(freq, "/schema") if freq else None)
    times = table.times[item.rows]
    _check_unique(times, item.item_id)
    try:
        axis = axis_from_times(times, freq, "", most=most, past=item.past_rows)
        check_horizon(axis, horizon, "")
    except InvalidRequest as error:
        detail = error.errors[0].detail if error.errors else error.detail
        raise InvalidRequest.field(
            "/schema/timestamp", f"series {item.item_id!r}: {detail}"
        ) from error
    return axis


def _check_unique(times: LocalTimes, item_id: str) -> None:
    twice = np.flatnonzero(np.diff(times.utc).astype(np.int64) == 0)
    if twice.size:
        raise InvalidRequest.field(
            "/schema/timestamp",
            f"series {item_id!r}: two rows have the time {times.wall[twice[0]]}; name the column"
            " that tells series apart as item_id, or send times with a UTC offset where a clock"
            " was put back",
        )


def _check_future(table: _Table, item: _Item, axis: TimeAxis, future: slice, ahead: Ahead) -> None:
    """Refuse rows that do not cover the horizon, step by step, with every value."""
    count = future.stop - future.start
    where = "/schema/future_covariates"
    if not ahead.is_covered_by(count):
        raise InvalidRequest.field(
            where,
            f"series {item.item_id!r} has {count} rows after its last observed target;"
            f" expected {ahead}",
        )
    if axis.ahead is not None and axis.start is not None and axis.freq is not None:
        wrong = axis.ahead != axis.length + np.arange(count)
        if wrong.any():
            step = axis.length + int(wrong.argmax())
            time = axis.freq.timestamps(axis.start, 1, skip=step)[0]
            raise InvalidRequest.field(where, f"series {item.item_id!r} has no row for {time}")
    for name, values in table.future.items():
        part = values[future]
        if not is_categorical(part) and np.isnan(part).any():
            step = int(np.isnan(part).argmax()) + 1
            raise InvalidRequest.field(
                where,
                f"covariate {name!r} of series {item.item_id!r} has no value {step} steps ahead",
            )
