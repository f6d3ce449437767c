"""What a model's store holds: the reading side, which takes no lock."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from forecast.core.errors import VersionDamaged
from forecast.core.state import ModelMetadata, ModelState
from forecast.core.times import to_utc
from forecast.store.layout import Kind, Layout
from forecast.store.manifest import MANIFEST, Manifest, verify

log = logging.getLogger(__name__)

_TRIES = 5  # a version is rarely overwritten even once while it is read


@dataclass(frozen=True, slots=True)
class Version:
    """A version or snapshot, as it was when looked up.

    Attributes:
        path: its folder: config.json, training_metadata.json, weights/, manifest.json.
        aliases: that mean it, `current` among them.
    """

    name: str
    kind: Kind
    path: Path
    manifest: Manifest
    aliases: tuple[str, ...] = ()

    @property
    def metadata(self) -> ModelMetadata:
        return self.manifest.metadata

    @property
    def state(self) -> ModelState:
        return ModelState(self.path, self.metadata)

    @property
    def cutoff(self) -> datetime | None:
        """Time of the newest data that had any part in it, in UTC; None where not known."""
        return self.manifest.metadata.cutoff

    @property
    def sha256(self) -> str:
        """Of the weights, as `checkpoint.digest` says."""
        return self.manifest.weights_sha256

    @property
    def size_bytes(self) -> int:
        return self.manifest.size_bytes

    @property
    def source(self) -> str:
        """As a source of weights: `store:<name>`."""
        return f"store:{self.name}"


def newest_cutoffs(versions: Iterable[Version], moment: datetime | np.datetime64) -> list[Version]:
    """Order those whose cutoff is at or before a moment, the newest cutoff first.

    Versions with an unknown cutoff are left out, since their training data may be newer.
    """
    limit = to_utc(moment)
    known = [(one.cutoff, one.name, one) for one in versions if one.cutoff is not None]
    dated = [found for found in known if found[0] <= limit]
    dated.sort(key=lambda found: found[:2], reverse=True)
    return [found[2] for found in dated]


class Catalog:
    """Finds and verifies versions, also while others publish, overwrite and remove."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def all(self, kind: Kind, aliases: Mapping[str, str]) -> list[Version]:
        """List those whose names and sizes are as written; contents are not looked at."""
        found = []
        for name in self._layout.names(kind):
            try:
                version = self._read(kind, name, aliases, contents=False)
            except VersionDamaged:
                continue
            if version is not None:
                found.append(version)
        return found

    def find(self, kind: Kind, name: str, aliases: Mapping[str, str]) -> Version | None:
        """Find a version and verify it as the configuration says; None where there is none.

        Raises:
            VersionDamaged: a file of it is not what was written; names the file.
        """
        contents = self._layout.config.verify_on_load
        return self._read(kind, name, aliases, contents=contents)

    def good(self, kind: Kind, name: str, aliases: Mapping[str, str]) -> Version | None:
        """Find a version that is as it was written; a damaged one is none, and is logged."""
        try:
            return self.find(kind, name, aliases)
        except VersionDamaged as error:
            log.warning("%s: passed over: %s", self._layout.model_id, error)
            return None

    def _read(
        self, kind: Kind, name: str, aliases: Mapping[str, str], *, contents: bool
    ) -> Version | None:
        """Read a version; again where another took its name meanwhile."""
        meaning = tuple(alias for alias, version in aliases.items() if version == name)
        for tries_left in reversed(range(_TRIES)):
            path = self._layout.find(kind, name)
            if path is None:
                return None
            folder = _identity(path)
            try:
                return Version(name, kind, path, self._checked(kind, path, contents), meaning)
            except VersionDamaged:
                is_same = folder is not None and _identity(path) == folder
                if is_same and not (path / MANIFEST).exists():
                    return None
                if is_same or not tries_left:
                    raise
        return None

    def _checked(self, kind: Kind, path: Path, contents: bool) -> Manifest:
        manifest = verify(path, contents=contents)
        found = manifest.metadata
        if (found.version, found.kind, found.model_id) != (path.name, kind, self._layout.model_id):
            raise VersionDamaged(f"{MANIFEST} of {path.name} is of another version")
        return manifest


def _identity(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
