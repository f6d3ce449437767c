"""A named source → a table: a URL, an object store or a file under the data roots."""

import pandas as pd

from forecast.core.errors import Forbidden
from forecast.data.files import FileFormat, format_of, read_frame
from forecast.data.object_stores import is_object_store, read_object
from forecast.data.paths import SCHEME, read_local
from forecast.data.policy import DataPolicy
from forecast.data.validation import excerpt


def read_source(source: str, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:
    """Read the file that a request names. Blocks.

    Args:
        text: columns whose values stay text where the format does not tell types.

    Raises:
        Forbidden: it may not be read.
        FileMissing: it is not there.
        BadData: it cannot be fetched or read.
        UnsupportedFormat: no format is known for its name.
    """
    body, file_format = _bytes_of(source, policy)
    return read_frame(body, file_format, policy, text)


def _bytes_of(source: str, policy: DataPolicy) -> tuple[bytes, FileFormat]:
    if source.lower().startswith(("http://", "https://")):
        from forecast.data.urls import fetch  # with an HTTP client, which few requests need

        found = fetch(source, policy)
        return found.body, format_of(found.name, found.media_type)
    if is_object_store(source):
        return read_object(source, policy), format_of(source)
    if "://" in source and not source.startswith(SCHEME):
        raise Forbidden(
            f"{excerpt(source)} may not be read; send an http or https URL, or local://data/…"
        )
    file_format = format_of(source)
    return read_local(source, policy.data_roots, policy.max_file_bytes), file_format
