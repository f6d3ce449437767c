"""A place elsewhere that versions are copied to, and what is checked of all that it sends."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Protocol

from forecast.core.errors import (
    Conflict,
    SourceUnavailable,
    UnknownSource,
    UnsupportedFormat,
    VersionDamaged,
)
from forecast.store.checkpoint import PATTERNS
from forecast.store.manifest import Manifest, load_manifest, verify
from forecast.store.names import VERSION, snapshot_day, snapshot_name
from forecast.store.versions import ModelShelf, Version

_PLAIN = re.compile(r"[\w.+-]{1,120}", re.ASCII)
_MOST_FILES = 1000


@dataclass(frozen=True, slots=True)
class Copy:
    """A version elsewhere.

    Attributes:
        place: where it is, as a source of weights.
        is_new: it was not there before.
    """

    place: str
    is_new: bool


class Remote(Protocol):
    """The versions of one model elsewhere, filled from a shelf and filling it.

    Attributes:
        name: `hf` or `mlflow`.
    """

    @property
    def name(self) -> str: ...

    def upload(self, version: Version) -> Copy:
        """Copy a version there, or find that it is there.

        A copy that was interrupted is visible to nobody, and the next one sends what it lacks.

        Raises:
            Conflict: there is a newer one of this name.
            SourceUnavailable, Forbidden: the place does not answer, or does not take it.
        """
        ...

    def download(self, name: str) -> Version:
        """Copy a version here: verified against its manifest, and published.

        Raises:
            UnknownSource: it is not there.
            SourceUnavailable: the place does not answer, or what it sent is damaged.
        """
        ...

    def names(self) -> list[str]:
        """List the versions and snapshots there.

        Raises:
            UnknownSource: there is no such place, or it does not show itself to us.
        """
        ...

    def aliases(self) -> dict[str, str]:
        """Look up which version each alias means there."""
        ...

    def push_aliases(self, aliases: Mapping[str, str]) -> list[str]:
        """Let aliases mean there what they mean here, the versions being there already.

        Returns:
            The aliases that changed; one that the place cannot hold is passed over.
        """
        ...


def is_version_name(name: str) -> bool:
    """Tell whether a version or a snapshot may have this name, written in full."""
    day = snapshot_day(name)
    return bool(VERSION.fullmatch(name)) or (day is not None and name == snapshot_name(day))


def require_version_name(name: str) -> None:
    """Refuse to ask for what no version is called.

    Raises:
        UnknownSource: this is no name of a version or snapshot, written in full.
    """
    if not is_version_name(name):
        raise UnknownSource(f"{name[:80]!r} is no name of a version or snapshot")


def content_sha256(manifest: Manifest) -> str:
    """Hash all that a version holds: the lines `<sha256>  <path>`, as `sha256sum` prints them."""
    lines = (f"{entry.sha256}  {file}\n" for file, entry in sorted(manifest.files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def require_sendable(version: Version) -> None:
    """Refuse to send what would not be taken back.

    Raises:
        UnsupportedFormat: names the file.
    """
    _check_files(version.manifest, version.name)


def require_older(theirs: datetime, version: Version, place: str) -> None:
    """Refuse to replace what was made later than what is to be sent.

    Args:
        theirs: when the version of this name was made that the place has.

    Raises:
        Conflict: says when both were made.
    """
    ours = version.metadata.created_at
    if theirs > ours:
        raise Conflict(
            f"{place} has another {version.name}, made {theirs:%Y-%m-%d %H:%M:%S}, later than this"
            f" one ({ours:%Y-%m-%d %H:%M:%S}); remove one of them"
        )


def read_manifest_of(folder: Path, shelf: ModelShelf, name: str, place: str) -> Manifest:
    """Read the manifest that a place sent, before anything else is taken from there.

    Raises:
        SourceUnavailable: it is damaged, or not of this version.
        UnsupportedFormat: it names files that are never taken.
    """
    try:
        manifest = load_manifest(folder)
    except VersionDamaged as error:
        raise SourceUnavailable(f"{place} sent no valid manifest of {name}") from error
    if (manifest.metadata.model_id, manifest.metadata.version) != (shelf.model_id, name):
        raise SourceUnavailable(f"what {place} has as {name} is not that version of this model")
    _check_files(manifest, name)
    return manifest


def take_in(shelf: ModelShelf, name: str, place: str, fill: Callable[[Path], None]) -> Version:
    """Publish a version that comes from elsewhere, if every byte is what its manifest says.

    Args:
        fill: brings the files and the manifest into a folder.

    Raises:
        SourceUnavailable: what came is damaged; names the file.
    """
    with shelf.new_draft() as draft:
        fill(draft)
        read_manifest_of(draft, shelf, name, place)
        try:
            manifest = verify(draft)
        except VersionDamaged as error:
            what = str(error).replace(draft.name, name)
            raise SourceUnavailable(f"what {place} sent was not kept: {what}") from error
        try:
            return shelf.publish(draft, manifest.metadata)
        except Conflict:  # somebody else has brought it meanwhile
            return shelf.get(name)


def _check_files(manifest: Manifest, name: str) -> None:
    if len(manifest.files) > _MOST_FILES:
        raise UnsupportedFormat(f"{name} has more than {_MOST_FILES} files")
    for file in manifest.files:
        parts = PurePosixPath(file).parts
        plain = all(_PLAIN.fullmatch(part) and not part.startswith(".") for part in parts)
        known = any(fnmatch(file, pattern) for pattern in PATTERNS)
        if not plain or not known or "/".join(parts) != file:
            kinds = ", ".join(PATTERNS)
            raise UnsupportedFormat(
                f"{name} holds {file[:120]!r}, which is not copied; files are {kinds},"
                " under plain names"
            )
