"""What the operator allows of callers' data: where from, how much, how long."""

from dataclasses import dataclass
from pathlib import Path

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """Limits on what a caller may send or name.

    Attributes:
        data_roots: folders whose files a request may name.
        allow_private_networks: let URLs reach this machine and private networks; for tests.
        object_store_prefixes: what a request may read with the gateway's own rights, such as
            `s3://my-bucket/forecasts/`; none by default.
        max_url_bytes: the largest answer of a URL or an object store.
        url_timeout_s: seconds for a whole fetch, redirects included.
        max_file_bytes: the largest file under the data roots, and of an upload.
        max_decompressed_bytes: the most that a compressed file may unpack to.
        max_rows: of a table or file.
        max_columns: of a table or file.
        max_series: of a request.
        max_points: values of all targets of a request, filled gaps included.
        default_timeout_s: for a request that names no `timeout_s`.
        max_timeout_s: the longest that a request may name.
    """

    data_roots: tuple[Path, ...] = ()
    allow_private_networks: bool = False
    object_store_prefixes: tuple[str, ...] = ()
    max_url_bytes: int = 64 * _MIB
    url_timeout_s: float = 30.0
    max_redirects: int = 5
    max_file_bytes: int = 256 * _MIB
    max_decompressed_bytes: int = 512 * _MIB
    max_rows: int = 5_000_000
    max_columns: int = 2_000
    max_series: int = 10_000
    max_points: int = 5_000_000
    default_timeout_s: float = 60.0
    max_timeout_s: float = 600.0
