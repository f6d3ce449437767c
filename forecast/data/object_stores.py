"""Files in object stores, read with the gateway's own rights where the operator allows it."""

import importlib

from forecast.core.errors import FileMissing, Forbidden, MissingLibrary, TooLarge
from forecast.data.policy import DataPolicy
from forecast.data.validation import excerpt

_SCHEMES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def is_object_store(source: str) -> bool:
    """Whether a source is a URL of an object store we know of."""
    return source.partition("://")[0].lower() in _SCHEMES and "://" in source


def read_object(source: str, policy: DataPolicy) -> bytes:
    """Read an object under one of the allowed prefixes.

    Raises:
        Forbidden: it is under none of them.
        MissingLibrary: the library for this store is not installed.
        FileMissing: there is no such object, or it may not be read.
        TooLarge: it is larger than allowed.
    """
    prefixes = [prefix for prefix in policy.object_store_prefixes if "://" in prefix]
    inside = any(source.startswith(prefix.rstrip("/") + "/") for prefix in prefixes)
    if not inside or "::" in source or ".." in source.split("/"):
        raise Forbidden(
            f"{excerpt(source)} may not be read; object stores are read only where the operator"
            " allows their prefix. Send the data, an https URL or a file under the data folder"
        )
    return read_with_fsspec(source, _SCHEMES[source.partition("://")[0]], policy.max_url_bytes)


def read_with_fsspec(source: str, library: str, max_bytes: int) -> bytes:
    """Read any fsspec URL; `library` is what has to be installed for it."""
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
