"""Settings of callers' data: sources allowed, sizes and times."""

from pydantic import Field

from forecast.core.errors import TooLarge
from forecast.core.fields import Bytes, Names, Paths, Seconds, SettingsGroup

_MIB = 1024**2


class DataPolicy(SettingsGroup):
    """Limits on what a caller may send or name."""

    data_roots: Paths = Field(
        (), description="Folders that named files may lie in; `<home>/data` where empty."
    )
    max_series: int = Field(10_000, ge=1, le=10_000_000, description="Series per request.")
    max_points: int = Field(
        5_000_000, ge=1, le=1_000_000_000, description="Values of all targets of a request."
    )
    max_rows: int = Field(
        5_000_000, ge=1, le=1_000_000_000, description="Rows of a table or a file."
    )
    max_columns: int = Field(2_000, ge=1, le=100_000, description="Columns of a table or a file.")
    max_datasets: int = Field(100, ge=0, le=100_000, description="Named datasets that are kept.")
    max_datasets_bytes: int = Field(
        4 * 1024**3, ge=1, le=2**50, description="All named datasets together."
    )
    timeout_s: Seconds = Field(
        60.0, description="How long a forecast may take where the request does not say."
    )
    max_timeout_s: Seconds = Field(600.0, description="Longest `timeout_s` of a request.")
    max_file_bytes: Bytes = Field(
        256 * _MIB, description="Largest file under the data roots, and of an upload."
    )
    max_decompressed_bytes: Bytes = Field(
        512 * _MIB, description="Most that a compressed file may unpack to."
    )
    max_url_bytes: Bytes = Field(64 * _MIB, description="Largest file fetched from a URL.")
    url_timeout_s: Seconds = Field(30.0, description="How long fetching a URL may take.")
    allow_private_urls: bool = Field(
        False, description="Let URLs lead to private networks and this machine."
    )
    object_store_prefixes: Names = Field(
        (),
        description="What may be read from an object store with the gateway's own rights,"
        " such as `s3://my-bucket/forecasts/`.",
    )

    def check_table(self, rows: int, columns: int) -> None:
        """Refuse a table with more rows or columns than allowed.

        Raises:
            TooLarge: names the limit.
        """
        if rows > self.max_rows:
            raise TooLarge(f"the data have {rows} rows; at most {self.max_rows} are allowed")
        if columns > self.max_columns:
            raise TooLarge(
                f"the data have {columns} columns; at most {self.max_columns} are allowed"
            )

    def check_unpacked(self, size: int) -> None:
        """Refuse a file that unpacks to more bytes than allowed.

        Raises:
            TooLarge: names the limit.
        """
        if size > self.max_decompressed_bytes:
            raise TooLarge(
                f"the file unpacks to {size} bytes;"
                f" at most {self.max_decompressed_bytes} are allowed"
            )
