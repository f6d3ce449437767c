"""Tables to learn from → Series, whole: rows known ahead may follow, as many as there are."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import Series
from forecast.data.inputs import SeriesBatch
from forecast.data.panels import batch_of_table
from forecast.data.policy import DataPolicy
from forecast.data.tables import TableSchema


def text_columns(schema: TableSchema) -> frozenset[str]:
    """Name the columns that are text, whatever they look like."""
    return frozenset(name for name in (schema.item_id, schema.timestamp) if name)


def series_of_table(frame: pd.DataFrame, schema: TableSchema, policy: DataPolicy) -> SeriesBatch:
    """Make series of a table; what is known ahead is known of every step, and of later rows.

    Raises:
        BadData: an item has no observed target.
        InvalidRequest: a column is missing or holds something else; rows repeat or are off the
            grid.
        TooLarge: more items or points than allowed.
    """
    ahead = schema.future_covariates
    for name in ahead:
        if name not in frame.columns:
            raise InvalidRequest.field("/schema/future_covariates", f"there is no column {name!r}")
    known = [*schema.past_covariates, *ahead]
    changes = {"past_covariates": known, "future_covariates": []}
    batch = batch_of_table(frame, schema.model_copy(update=changes), 0, policy)
    return SeriesBatch(tuple(known_ahead(one, ahead) for one in batch.series), batch.warnings)


def known_ahead(series: Series, names: Sequence[str]) -> Series:
    """Say which past covariates are known ahead; steps after the last target are the future.

    Raises:
        BadData: no target is observed.
    """
    if not names:
        return series
    observed = np.flatnonzero(~np.isnan(series.target).all(axis=0))
    if not observed.size:
        raise BadData(f"series {series.item_id!r} holds no observed value")
    none_yet = {name: series.past_covariates[name][:0] for name in names}
    marked = replace(series, future_covariates=none_yet)
    return marked.until(int(observed[-1]) + 1, series.length)
