"""Forecasts as long rows: one a step and channel, as CSV or Arrow.

Columns: `item_id`, `timestamp`, `channel` where a series has channels, `mean`, and one for
each quantile level, named by it.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyarrow import csv

from forecast.core.clock import UTC, utc_of
from forecast.core.frequency import Timestamps
from forecast.core.types import Forecast, Series
from forecast.data.requests import InferenceRequest
from forecast.data.timestamps import future_texts

CSV = "text/csv"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"


def encode_rows(request: InferenceRequest, forecasts: Sequence[Forecast], media_type: str) -> bytes:
    """Encode forecasts as CSV, an Arrow stream or an Arrow file."""
    sink = pa.BufferOutputStream()
    if media_type == CSV:
        csv.write_csv(_table(request, forecasts, as_text=True), sink)
    else:
        table = _table(request, forecasts, as_text=False)
        new = pa.ipc.new_file if media_type == ARROW_FILE else pa.ipc.new_stream
        with new(sink, table.schema) as writer:
            writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _table(request: InferenceRequest, forecasts: Sequence[Forecast], *, as_text: bool) -> pa.Table:
    """Rows ordered by series, channel and step."""
    all_series, horizon = request.series, request.task.horizon
    levels = forecasts[0].quantile_levels
    steps = [horizon * max(len(series.channels), 1) for series in all_series]
    columns: dict[str, pa.Array] = {
        "item_id": pa.array(np.repeat([series.item_id for series in all_series], steps)),
        "timestamp": _times(all_series, horizon, as_text=as_text),
    }
    if any(series.channels for series in all_series):
        channels = [name for series in all_series for name in series.channels or ("",)]
        columns["channel"] = pa.array(np.repeat(channels, horizon))
    columns["mean"] = pa.array(np.concatenate([forecast.mean.ravel() for forecast in forecasts]))
    for index, level in enumerate(levels):
        values = [forecast.quantiles[:, index].ravel() for forecast in forecasts]
        columns[repr(level)] = pa.array(np.concatenate(values))
    return pa.table(columns)


def _times(all_series: Sequence[Series], horizon: int, *, as_text: bool) -> pa.Array:
    """Repeat the timestamps of each series for its channels; null where time is not known.

    Arrow has one time zone a column: UTC where the clocks of the series differ, and times are
    text where only some have one.
    """
    clocks = {series.clock for series in all_series if series.start is not None}
    as_text = as_text or (None in clocks and len(clocks) > 1)
    parts = [_part(series, horizon, as_text=as_text) for series in all_series]
    kind = pa.string() if as_text else pa.timestamp("s")
    column = pa.concat_arrays([pa.array(part, type=kind) for part in parts])
    if as_text or clocks <= {None}:
        return column
    return column.cast(pa.timestamp("s", tz=clocks.pop() if len(clocks) == 1 else UTC))


def _part(series: Series, horizon: int, *, as_text: bool) -> Sequence[str | None] | Timestamps:
    copies = max(len(series.channels), 1)
    if as_text:
        texts: Sequence[str | None] = future_texts(series, horizon) or [None] * horizon
        return [*texts] * copies
    times = series.future_timestamps(horizon)
    if times is None:
        return [None] * (horizon * copies)
    return np.tile(utc_of(times, series.clock), copies)
