"""Files that a request names: only those under the data roots, whatever the name says."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from forecast.core.errors import FileMissing, Forbidden, TooLarge
from forecast.data.validation import excerpt

SCHEME = "local://"
_ROOT_NAME = "data/"
_LONGEST_NAME = 1024


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
    relative = name.removeprefix(SCHEME)
    if name.startswith(SCHEME):
        relative = relative.removeprefix(_ROOT_NAME)
    if not relative or len(relative) > _LONGEST_NAME or "\0" in relative or "\\" in relative:
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
