"""Files that callers send or name: where they lie, of what format they are, read into a table."""

import importlib
import os
import stat
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath

import pandas as pd

from forecast.core.errors import (
    BadData,
    FileMissing,
    Forbidden,
    ForecastError,
    MissingLibrary,
    TooLarge,
    UnsupportedFormat,
)
from forecast.core.validation import excerpt
from forecast.data.binary_files import read_arrow, read_parquet, read_xlsx
from forecast.data.bodies import media_type_of, unpacked
from forecast.data.policy import DataPolicy
from forecast.data.text_files import read_csv, read_json_table


class FileFormat(StrEnum):
    """File formats that are read."""

    CSV = "CSV"
    JSON = "JSON"
    XLSX = "XLSX"
    PARQUET = "Parquet"
    ARROW = "Arrow"


_SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".txt": FileFormat.CSV,
    ".json": FileFormat.JSON,
    ".xlsx": FileFormat.XLSX,
    ".parquet": FileFormat.PARQUET,
    ".pq": FileFormat.PARQUET,
    ".arrow": FileFormat.ARROW,
    ".arrows": FileFormat.ARROW,
    ".feather": FileFormat.ARROW,
    ".ipc": FileFormat.ARROW,
}
_MEDIA_TYPES = {
    "text/csv": FileFormat.CSV,
    "text/tab-separated-values": FileFormat.CSV,
    "application/csv": FileFormat.CSV,
    "text/plain": FileFormat.CSV,
    "application/json": FileFormat.JSON,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": FileFormat.XLSX,
    "application/vnd.apache.parquet": FileFormat.PARQUET,
    "application/vnd.apache.arrow.file": FileFormat.ARROW,
    "application/vnd.apache.arrow.stream": FileFormat.ARROW,
}
_READERS: dict[FileFormat, Callable[[bytes, DataPolicy, frozenset[str]], pd.DataFrame]] = {
    FileFormat.CSV: read_csv,
    FileFormat.JSON: read_json_table,
    FileFormat.XLSX: lambda body, policy, _: read_xlsx(body, policy),
    FileFormat.PARQUET: lambda body, policy, _: read_parquet(body, policy),
    FileFormat.ARROW: lambda body, policy, _: read_arrow(body, policy),
}
_SIGNATURES = {  # offset and bytes → format, as an error names it
    (0, b"PK\x03\x04"): "a zip archive or a workbook",
    (0, b"7z\xbc\xaf\x27\x1c"): "a 7-Zip archive",
    (0, b"Rar!\x1a\x07"): "a RAR archive",
    (0, b"\xfd7zXZ\0"): "packed with xz",
    (0, b"\x28\xb5\x2f\xfd"): "packed with Zstandard",
    (0, b"%PDF-"): "a PDF document",
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"): "a workbook of an old Excel",
    (0, b"PAR1"): "a Parquet file",
    (0, b"ARROW1\0\0"): "an Arrow file",
    (4, b"1AY&SY"): "packed with bzip2",  # after BZh and a digit
    (257, b"ustar"): "a tar archive",
}
_SIGNATURE_OF = {
    FileFormat.XLSX: "a zip archive or a workbook",
    FileFormat.PARQUET: "a Parquet file",
    FileFormat.ARROW: "an Arrow file",
}
_LOCAL = "local://"
_DATA_FOLDER = "data/"
_MAX_NAME = 1024  # characters
_OBJECT_STORES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def read_source(source: str, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:
    """Read the file that a request names by URL or path. Blocks.

    Args:
        text: see `read_frame`.

    Raises:
        Forbidden: the source is not allowed.
        FileMissing: there is no such file.
        BadData: the file cannot be fetched or read.
        UnsupportedFormat: the name has no known ending.
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
    if "://" in source and not source.startswith(_LOCAL):
        raise Forbidden(
            f"{excerpt(source)} may not be read; send an http or https URL, or local://data/…"
        )
    file_format = format_of(source)
    return read_local(source, policy.data_roots, policy.max_file_bytes), file_format


def format_of(name: str, media_type: str = "") -> FileFormat:
    """Find the format of a file by the ending of its name, or else by its media type.

    Raises:
        UnsupportedFormat: neither is known; lists the endings that are.
    """
    suffix = PurePosixPath(name.lower().removesuffix(".gz")).suffix
    found = _SUFFIXES.get(suffix) or _MEDIA_TYPES.get(media_type_of(media_type))
    if found is None:
        kind = f"files ending in {suffix!r}" if suffix else "files of unknown format"
        raise UnsupportedFormat(
            f"{kind} cannot be read; send one ending in .csv, .json, .xlsx, .parquet or .arrow"
        )
    return found


def read_frame(
    body: bytes, file_format: FileFormat, policy: DataPolicy, text: frozenset[str] = frozenset()
) -> pd.DataFrame:
    """Read a file into a table.

    Args:
        text: columns whose values stay text where the format (CSV) has no types: `007` is not 7,
            `NA` is not missing.

    Raises:
        BadData: the file is broken or empty; names the format.
        TooLarge: it has more rows, columns or decompressed bytes than allowed.
    """
    if not body:
        raise BadData(f"the {file_format} file is empty")
    try:
        body = unpacked(body, policy.max_decompressed_bytes)
        _refuse_other_formats(body, file_format)
        frame = _READERS[file_format](body, policy, text)
    except ForecastError:
        raise
    except MemoryError as error:
        raise TooLarge(f"the {file_format} file needs more memory than there is") from error
    except Exception as error:
        raise BadData(
            f"the file cannot be read as {file_format}; it may be broken, or of another format"
        ) from error
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise BadData(f"the {file_format} file has two columns named {str(twice)!r}")
    if frame.empty:
        raise BadData(f"the {file_format} file holds no rows")
    return frame


def _refuse_other_formats(body: bytes, file_format: FileFormat) -> None:
    found = [what for (at, magic), what in _SIGNATURES.items() if body.startswith(magic, at)]
    if found and found[0] != _SIGNATURE_OF.get(file_format):
        raise UnsupportedFormat(
            f"the file is {found[0]}; send one table, as CSV, JSON, XLSX, Parquet or Arrow with the"
            " name of that format, packed with gzip or not at all"
        )


def read_local(name: str, roots: Sequence[Path], max_bytes: int) -> bytes:
    """Read `local://data/<path>` or a bare relative path from the first root that has it.

    Raises:
        Forbidden: the name leads out of the data roots, by whatever way.
        FileMissing: no root has such a file.
        TooLarge: the file is larger than `max_bytes`.
    """
    found = _find(name, roots)
    try:
        descriptor = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _missing(name)
            body = file.read(max_bytes + 1)
    except OSError as error:
        raise _missing(name) from error
    if len(body) > max_bytes:
        raise TooLarge(f"the file is larger than the {max_bytes} bytes allowed")
    return body


def _find(name: str, roots: Sequence[Path]) -> Path:
    relative = name.removeprefix(_LOCAL)
    if name.startswith(_LOCAL):
        relative = relative.removeprefix(_DATA_FOLDER)
    if not relative or len(relative) > _MAX_NAME or "\0" in relative or "\\" in relative:
        raise _forbidden(name)
    for root in roots:
        real_root = root.resolve()
        try:
            real = (real_root / relative).resolve()
            is_file = real.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long
            raise _forbidden(name) from error
        if not real.is_relative_to(real_root):
            raise _forbidden(name)
        if is_file:
            return real
    raise _missing(name)


def _forbidden(name: str) -> Forbidden:
    return Forbidden(
        f"{excerpt(name)} may not be read; name a file under the data folder, such as"
        " local://data/sales.csv"
    )


def _missing(name: str) -> FileMissing:
    return FileMissing(f"there is no file {excerpt(name)} in the data folder")


def is_object_store(source: str) -> bool:
    """Whether a source is a URL of a supported object store."""
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme.lower() in _OBJECT_STORES


def read_object(source: str, policy: DataPolicy) -> bytes:
    """Read an object under one of the allowed prefixes, with the gateway's own rights.

    Raises:
        Forbidden: it is under none of them.
        MissingLibrary: the library for this store is not installed.
        FileMissing: there is no such object, or it may not be read.
        TooLarge: it is larger than allowed.
    """
    prefixes = [prefix for prefix in policy.object_store_prefixes if "://" in prefix]
    is_inside = any(source.startswith(prefix.rstrip("/") + "/") for prefix in prefixes)
    if not is_inside or "::" in source or ".." in source.split("/"):
        raise Forbidden(
            f"{excerpt(source)} may not be read; object stores are read only where the operator"
            " allows their prefix. Send the data, an https URL or a file under the data folder"
        )
    library = _OBJECT_STORES[source.partition("://")[0].lower()]
    return read_with_fsspec(source, library, policy.max_url_bytes)


def read_with_fsspec(source: str, library: str, max_bytes: int) -> bytes:
    """Read any fsspec URL; `library` is the package that its scheme needs."""
    try:
        importlib.import_module(library)
        fsspec = importlib.import_module("fsspec")
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"reading {source.partition('://')[0]}:// needs {library}, which is not installed;"
            f" install it with: pip install {library}"
        ) from error
    try:
        with fsspec.open(source, "rb") as file:
            body: bytes = file.read(max_bytes + 1)
    except OSError as error:
        raise FileMissing(f"there is no readable object {excerpt(source)}") from error
    if len(body) > max_bytes:
        raise TooLarge(f"the object is larger than the {max_bytes} bytes allowed")
    return body
