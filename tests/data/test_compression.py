"""Gzip of one or many members is unpacked whole, and within its limit."""

import gzip

import pytest

from forecast.core.errors import BadData, TooLarge
from forecast.data.compression import unpacked


def test_members_are_joined_wherever_the_slices_end():
    rows = [f"2024-01-01,{number}\n".encode() for number in range(2000)]
    body = b"".join(gzip.compress(row, mtime=0) for row in rows)
    whole = b"".join(rows)
    assert unpacked(body, len(whole)) == whole
    with pytest.raises(TooLarge):
        unpacked(body, len(whole) - 1)
    with pytest.raises(BadData, match="early"):
        unpacked(body[:-4], len(whole))
