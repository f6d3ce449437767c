"""Gzip, unpacked within a limit: a small body can fill the memory of any machine.

What else may be packed is refused by its name.
"""

import re
import zlib
from collections.abc import Iterator

from forecast.core.errors import BadData, TooLarge, UnsupportedFormat

_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"
_OTHERS = {  # first bytes → what begins so
    b"PK\x03\x04": "a zip archive or a workbook",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xfd7zXZ\0": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with Zstandard",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a workbook of an old Excel",
    b"PAR1": "a Parquet file",
    b"ARROW1\0\0": "an Arrow file",
}
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")  # BZh alone may begin the name of a column
_TAR = (b"ustar", 257)
_SLICE = 4096  # bytes; each member copies the rest of its slice, so many tiny ones stay cheap


class Gunzip:
    """Unpacks one stream of gzip, part by part. Not thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._stream = zlib.decompressobj(_GZIP)

    def feed(self, packed: bytes) -> bytes:
        """Unpack the next part.

        Raises:
            BadData: it is not gzip.
            TooLarge: the whole unpacks to more than allowed.
        """
        slices = (packed[at : at + _SLICE] for at in range(0, len(packed), _SLICE))
        return b"".join(part for each in slices for part in self._parts(each))

    def _parts(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            if self._stream.eof:  # another member follows on the last
                self._stream = zlib.decompressobj(_GZIP)
            try:
                part = self._stream.decompress(packed, self._most - self._size + 1)
            except zlib.error as error:
                raise BadData("the data are not gzip, or are damaged") from error
            self._size += len(part)
            if self._size > self._most:
                raise TooLarge(
                    f"the data unpack to more than the {self._most} bytes allowed; send fewer"
                )
            yield part
            packed = self._stream.unused_data

    def finish(self) -> None:
        """Check that nothing is missing.

        Raises:
            BadData: the stream ends early.
        """
        if not self._stream.eof:
            raise BadData("the gzip data end early; send them whole")


def unpacked(body: bytes, most: int) -> bytes:
    """Decompress a gzip body; return any other body unchanged."""
    if not body.startswith(_MAGIC):
        return body
    stream = Gunzip(most)
    plain = stream.feed(body)
    stream.finish()
    return plain


def refuse_packed(body: bytes, *, own: str | None) -> None:
    """Refuse a file that is packed in another way, or is of another format than its name says.

    Args:
        own: what files of the expected format are, where they are packed by themselves.

    Raises:
        UnsupportedFormat: says what the file is.
    """
    found = next((what for magic, what in _OTHERS.items() if body.startswith(magic)), None)
    if _BZIP2.match(body):
        found = "packed with bzip2"
    elif body.startswith(*_TAR):
        found = "a tar archive"
    if found is not None and found != own:
        raise UnsupportedFormat(
            f"the file is {found}; send one table, as CSV, JSON, XLSX, Parquet or Arrow with the"
            " name of that format, packed with gzip or not at all"
        )
