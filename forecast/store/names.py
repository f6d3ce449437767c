"""What versions, snapshots, aliases and models may be called."""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Literal

from forecast.core.errors import InvalidRequest

CURRENT = "current"
SNAPSHOT_PREFIX = "snapshot_"

MODEL_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
VERSION = re.compile(r"v[0-9][0-9A-Za-z._-]{0,63}", re.ASCII)
ALIAS = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_SNAPSHOT = re.compile(r"(?:snapshot[_-])?(\d{4}-\d{2}-\d{2})", re.ASCII)
_NUMBER = re.compile(r"v(\d{1,9})\.(\d{1,9})", re.ASCII)
_DIGITS = 7  # of the hash in a name

Bump = Literal["minor", "major"]


def checked_model_id(model_id: str) -> str:
    """Give back what is an id of a model.

    Raises:
        InvalidRequest: it is none; a path is none.
    """
    if not MODEL_ID.fullmatch(model_id):
        raise InvalidRequest("an id of a model has a-z, 0-9, _ and - only")
    return model_id


def checked_alias(alias: str) -> str:
    """Give back what may be an alias.

    Raises:
        InvalidRequest: it may not, or could be taken for a version.
    """
    if not ALIAS.fullmatch(alias):
        raise InvalidRequest("an alias has 1 to 63 of a-z, 0-9, _ and -, and begins with no sign")
    if VERSION.fullmatch(alias) or alias.startswith("snapshot") or snapshot_day(alias):
        raise InvalidRequest(f"the alias {alias!r} could be taken for a version; choose another")
    return alias


def snapshot_name(cutoff: date) -> str:
    return f"{SNAPSHOT_PREFIX}{cutoff.isoformat()}"


def snapshot_day(name: str) -> date | None:
    """Read the date of `snapshot_2020-12-31`, `snapshot-2020-12-31` or `2020-12-31`."""
    found = _SNAPSHOT.fullmatch(name)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def parsed(name: str) -> tuple[Literal["version", "snapshot"], str] | None:
    """Read the name of a version, or of a snapshot by its date; None for an alias."""
    if VERSION.fullmatch(name):
        return "version", name
    day = snapshot_day(name)
    return ("snapshot", snapshot_name(day)) if day else None


def dated_name(day: date | None, config_sha256: str, data_sha256: str, taken: Iterable[str]) -> str:
    """Make v2026-11-21-3f9c2a1, and …-2 where that is taken."""
    joined = hashlib.sha256(f"{config_sha256}{data_sha256}".encode()).hexdigest()
    name = f"v{(day or datetime.now(UTC).date()).isoformat()}-{joined[:_DIGITS]}"
    there, number, proposed = set(taken), 1, name
    while proposed in there:
        number += 1
        proposed = f"{name}-{number}"
    return proposed


def numbered_name(taken: Iterable[str], bump: Bump) -> str:
    """Make the one after the highest v{major}.{minor}; v1.0 is the first."""
    found = [_NUMBER.fullmatch(name) for name in taken]
    numbers = [(int(one[1]), int(one[2])) for one in found if one]
    if not numbers:
        return "v1.0"
    major, minor = max(numbers)
    return f"v{major + 1}.0" if bump == "major" else f"v{major}.{minor + 1}"
