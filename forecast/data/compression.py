"""Gzip, unpacked within a limit: a small body can fill the memory of any machine."""

import zlib

from forecast.core.errors import BadData, TooLarge

_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"


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
        parts: list[bytes] = []
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
            parts.append(part)
            packed = self._stream.unused_data
        return b"".join(parts)

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
