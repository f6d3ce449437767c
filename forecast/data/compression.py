"""Gzip, unpacked within a limit: a small body can fill the memory of any machine."""

import zlib
from collections.abc import Iterator

from forecast.core.errors import BadData, TooLarge

_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"
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
