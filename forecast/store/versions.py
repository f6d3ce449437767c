"""Versions and snapshots of models: published whole, checked on loading, never edited."""

import logging
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from threading import Lock

import numpy as np

from forecast.core.atomic import discard, move, sync_all
from forecast.core.errors import Conflict, InvalidRequest, VersionDamaged, VersionNotFound
from forecast.core.state import ModelMetadata, TrainingState
from forecast.store import checkpoint_states, drafts
from forecast.store.aliases import Aliases
from forecast.store.config import StoreConfig
from forecast.store.holds import Hold, unused
from forecast.store.layout import Kind, Layout, aside, explained
from forecast.store.manifest import Manifest, verify, write_manifest
from forecast.store.names import (
    ALIAS,
    RUN,
    VERSION,
    Bump,
    checked_model_id,
    dated_name,
    numbered_name,
    snapshot_day,
    snapshot_name,
)
from forecast.store.retention import superfluous, superfluous_snapshots
from forecast.store.snapshots import end_of_day, newest_first

log = logging.getLogger(__name__)

_LISTED = 10  # names in an error


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


class ModelStore:
    """The versions of every model. Cheap to make; safe to use from several processes."""

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self._shelves: dict[str, ModelShelf] = {}
        self._making = Lock()

    def model(self, model_id: str) -> "ModelShelf":
        """Give the shelf of a model; nothing is read or made yet.

        Raises:
            InvalidRequest: this is no id of a model.
        """
        with self._making:
            if model_id not in self._shelves:
                layout = Layout(self.config, checked_model_id(model_id))
                self._shelves[model_id] = ModelShelf(layout)
            return self._shelves[model_id]


class ModelShelf:
    """The versions of one model.

    A version is visible whole or not at all, and keeps its name until it is overwritten, which
    leaves a backup, or until `retain` removes it. Readers take no lock.

    Attributes:
        model_id: the model's id.
        aliases: names that mean a version.
    """

    def __init__(self, layout: Layout) -> None:
        self.model_id = layout.model_id
        self.aliases = Aliases(layout, lambda name: self.get(name).name)
        self._layout = layout
        self._config = layout.config

    # Writing

    def drafting(self) -> AbstractContextManager[Path]:
        """Give an empty folder to write a version into; it is removed unless published.

        Raises:
            StoreError: the disk does not take it.
        """
        return drafts.drafting(self._layout)

    def propose(
        self,
        *,
        config_sha256: str,
        data_sha256: str,
        day: date | None = None,
        bump: Bump = "minor",
    ) -> str:
        """Make a free name for a new version.

        Another process may take the name meanwhile: `publish` then says so, and the next
        proposal is another.

        Args:
            day: of the name; by default today, in UTC.
            bump: which part of v{major}.{minor} grows.
        """
        names = self._layout.names("version")
        if self._config.version_format == "number":
            return numbered_name(names, bump)
        return dated_name(day, config_sha256, data_sha256, names)

    def publish(self, draft: Path, metadata: ModelMetadata, *, overwrite: bool = False) -> Version:
        """Give a draft its name: `metadata.version`, among the versions or the snapshots.

        What stands in the name's place is kept as a backup. If it is damaged, it makes way
        without `overwrite`.

        Raises:
            Conflict: the name is taken.
            InvalidRequest: the name, the metadata or the draft is not what a version has.
            StoreError: the disk does not take it.
        """
        self._check(metadata)
        kind, name = metadata.kind, metadata.version
        with explained():
            sync_all(draft)
            manifest = write_manifest(draft, metadata)
        target = self._layout.folder(kind) / name
        with self._layout.writing():
            if not overwrite and self._is_taken(kind, name):
                raise Conflict(f"{self.model_id} has a {kind} {name} already; name another")
            self._place(draft, target)
            drafts.sweep(self._layout)
        log.info("published %s %s", self.model_id, name)
        return Version(name, kind, target, manifest, self._aliases_of(name))

    def retain(self) -> list[str]:
        """Remove what the policy does not keep; the names of the versions and snapshots removed.

        What an alias means, would mean after a rollback, or anybody holds is never removed.
        """
        removed = []
        with self._layout.writing():
            protected = self._protected()
            versions = [version.metadata for version in self.versions()]
            removed += self._remove("version", superfluous(versions, self._config, protected))
            snapshots = [snapshot.name for snapshot in self.snapshots()]
            beyond = superfluous_snapshots(snapshots, self._config, protected)
            removed += self._remove("snapshot", beyond)
            self._prune()
        drafts.sweep(self._layout)
        return removed

    def hold(self, version: Version) -> Hold:
        """Keep a version from being removed while this process uses it.

        Raises:
            VersionNotFound: it was removed already.
        """
        with explained():
            hold = Hold(self._hold_file(version.name))
        if self._layout.find(version.kind, version.name) is None:
            hold.release()
            raise self._not_found(version.name)
        return hold

    # Reading

    def versions(self) -> list[Version]:
        """List the versions, the newest first; invalid ones are left out."""
        found = self._all("version")
        key = lambda version: (version.metadata.created_at, version.name)  # noqa: E731
        return sorted(found, key=key, reverse=True)

    def snapshots(self) -> list[Version]:
        """List the snapshots, the newest cutoff first; invalid ones are left out."""
        return sorted(self._all("snapshot"), key=lambda version: version.name, reverse=True)

    def get(self, name_or_alias: str) -> Version:
        """Find a version by its name, an alias, or the date of a snapshot, and verify it.

        Raises:
            VersionNotFound: there is none; lists those there are.
            VersionDamaged: a file of it is not what was written; names the file, and the next
                older version that is good.
        """
        kind, name = self._meant(name_or_alias)
        path = self._layout.find(kind, name)
        if path is None or not (path / "manifest.json").exists():
            raise self._not_found(name_or_alias)
        try:
            return self._verified(kind, path)
        except VersionDamaged as error:
            older = self._older_than(kind, name)
            advice = f"; the next older good one is {older}" if older else "; no older one is good"
            raise VersionDamaged(f"{self.model_id}: {error}{advice}") from error

    def snapshot(self, cutoff: date) -> Version | None:
        """Find the snapshot of a date; None where there is none that is good."""
        return self._good("snapshot", snapshot_name(cutoff))

    def newest_before(self, moment: datetime | np.datetime64) -> Version | None:
        """Find the version or snapshot of the newest cutoff at or before a moment."""
        return self._first_good(newest_first([*self.versions(), *self.snapshots()], moment))

    def closest_snapshot(self, cutoff: date) -> Version | None:
        """Find the newest snapshot of a date or an earlier one."""
        return self._first_good(newest_first(self.snapshots(), end_of_day(cutoff)))

    def find_equal(self, *, config_sha256: str, data_sha256: str) -> Version | None:
        """Find the newest version that was trained with this configuration on this data."""
        wanted = (config_sha256, data_sha256)
        return self._first_good(
            version
            for version in self.versions()
            if (version.metadata.config_sha256, version.metadata.data_sha256) == wanted
        )

    # Unfinished trainings

    def checkpoints(self, run: str) -> Path:
        """Give the folder for the state of an unfinished training.

        Raises:
            InvalidRequest: this is no name for one.
        """
        folder = self._run(run)
        with explained():
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def checkpoint_states(self, run: str) -> list[TrainingState]:
        """Read where an unfinished training stands, the newest state first."""
        return checkpoint_states.states(self._run(run))

    def forget_checkpoints(self, run: str) -> None:
        """Remove the state of a training; where there is none, that is fine."""
        discard(self._run(run))

    # Parts of the above

    def _check(self, metadata: ModelMetadata) -> None:
        name = metadata.version
        if metadata.model_id != self.model_id:
            raise InvalidRequest(f"this is a version of {metadata.model_id}, not {self.model_id}")
        if metadata.kind == "version":
            if not VERSION.fullmatch(name):
                raise InvalidRequest("a version is named v, a digit, and letters, digits, . _ -")
            return
        day = snapshot_day(name)
        if day is None or name != snapshot_name(day) or metadata.cutoff_date != day:
            raise InvalidRequest("a snapshot is named snapshot_YYYY-MM-DD, after its cutoff")

    def _is_taken(self, kind: Kind, name: str) -> bool:
        path = self._layout.folder(kind) / name
        try:
            return path.is_dir() and bool(verify(path))
        except VersionDamaged as error:
            log.warning("%s makes way for a new one: %s", name, error)
            return False

    def _place(self, draft: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            move(draft, target)
            return
        move(target, aside(target))
        move(draft, target)
        move(aside(target), self._layout.free_backup(target.name))
        self._prune_backups(target.name)

    def _protected(self) -> set[str]:
        aliases = self.aliases.all()
        targets = {self.aliases.rollback_target(alias) for alias in aliases}
        return {*aliases.values(), *(target for target in targets if target)}

    def _remove(self, kind: Kind, names: Iterable[str]) -> list[str]:
        gone = []
        for name in names:
            with unused(self._hold_file(name)) as is_unused:
                if is_unused:
                    drafts.removed(self._layout.folder(kind) / name, self._layout)
                    gone.append(name)
        return gone

    def _prune(self) -> None:
        for name in self._layout.backed_up():
            self._prune_backups(name)
        for run in self._layout.checkpoints.glob("*"):
            checkpoint_states.prune(run, self._config.max_checkpoints)
        checkpoint_states.prune_runs(self._layout.checkpoints, self._config.max_runs)

    def _prune_backups(self, name: str) -> None:
        for _, path in self._layout.backups_of(name)[: -self._config.backups]:
            shutil.rmtree(path, ignore_errors=True)

    def _meant(self, name_or_alias: str) -> tuple[Kind, str]:
        if VERSION.fullmatch(name_or_alias):
            return "version", name_or_alias
        name = name_or_alias
        if not snapshot_day(name) and ALIAS.fullmatch(name):
            name = self.aliases.get(name) or ""
        if VERSION.fullmatch(name):
            return "version", name
        if day := snapshot_day(name):
            return "snapshot", snapshot_name(day)
        raise self._not_found(name_or_alias)

    def _not_found(self, name: str) -> VersionNotFound:
        there = [version.name for version in (*self.versions(), *self.snapshots())]
        aliases = ", ".join(self.aliases.all())
        if not there:
            return VersionNotFound(f"the store holds no version of {self.model_id}; train one")
        names = ", ".join(there[:_LISTED]) + (", …" if len(there) > _LISTED else "")
        known = f"{names}; aliases: {aliases}" if aliases else names
        return VersionNotFound(f"{self.model_id} has no version {name[:80]!r}; there are {known}")

    def _all(self, kind: Kind) -> list[Version]:
        aliases = self.aliases.all()
        found = []
        for name in self._layout.names(kind):
            path = self._layout.find(kind, name)
            try:
                manifest = verify(path, contents=False) if path else None
            except VersionDamaged:
                continue
            if path and manifest and manifest.metadata.version == name:
                meaning = tuple(alias for alias, of in aliases.items() if of == name)
                found.append(Version(name, kind, path, manifest, meaning))
        return found

    def _verified(self, kind: Kind, path: Path) -> Version:
        manifest = verify(path, contents=self._config.verify_on_load)
        metadata = manifest.metadata
        if (metadata.version, metadata.kind, metadata.model_id) != (path.name, kind, self.model_id):
            raise VersionDamaged(f"manifest.json of {path.name} is of another version")
        return Version(path.name, kind, path, manifest, self._aliases_of(path.name))

    def _good(self, kind: Kind, name: str) -> Version | None:
        path = self._layout.find(kind, name)
        try:
            return self._verified(kind, path) if path else None
        except VersionDamaged as error:
            log.warning("%s: passed over: %s", self.model_id, error)
            return None

    def _first_good(self, versions: Iterable[Version]) -> Version | None:
        good = (self._good(version.kind, version.name) for version in versions)
        return next(filter(None, good), None)

    def _older_than(self, kind: Kind, name: str) -> str | None:
        versions = self.versions() if kind == "version" else self.snapshots()
        names = [version.name for version in versions]
        start = names.index(name) + 1 if name in names else 0
        found = self._first_good(versions[start:])
        return found.name if found and found.name != name else None

    def _aliases_of(self, name: str) -> tuple[str, ...]:
        return tuple(alias for alias, of in self.aliases.all().items() if of == name)

    def _hold_file(self, name: str) -> Path:
        return self._layout.holds / name

    def _run(self, run: str) -> Path:
        if not RUN.fullmatch(run):
            raise InvalidRequest("the name of a run has letters, digits, . _ - only")
        return self._layout.checkpoints / run
