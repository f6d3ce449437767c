"""The versions and snapshots of one model: published whole, checked on loading, never edited."""

import logging
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path

import numpy as np

from forecast.core.atomic import discard
from forecast.core.errors import Conflict, InvalidRequest, VersionDamaged, VersionNotFound
from forecast.core.state import ModelMetadata, TrainingState
from forecast.core.times import day_end
from forecast.store import checkpoint_states, drafts, names
from forecast.store.aliases import Aliases
from forecast.store.catalog import Catalog, Version, newest_cutoffs
from forecast.store.holds import Hold, unused
from forecast.store.layout import Kind, Layout, explained
from forecast.store.manifest import is_of_later_format, read_manifest, verify, write_manifest
from forecast.store.retention import superfluous, superfluous_snapshots

log = logging.getLogger(__name__)

_LISTED = 10  # names in an error


class ModelShelf:
    """The versions of one model. Safe to use from several threads and processes.

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
        self._catalog = Catalog(layout)

    def new_draft(self) -> AbstractContextManager[Path]:
        """Give an empty folder to write a version into; it is removed unless published.

        Raises:
            StoreError: the disk does not take it.
        """
        return drafts.new_draft(self._layout)

    def propose(
        self,
        *,
        config_sha256: str,
        data_sha256: str,
        day: date | None = None,
        bump: names.Bump = "minor",
    ) -> str:
        """Make a free name for a new version.

        Another process may take it meanwhile: `publish` then raises Conflict, and the next
        proposal is another.

        Args:
            day: of the name; by default today, in UTC.
            bump: which part of v{major}.{minor} grows.
        """
        there = self._layout.names("version")
        if self._config.version_format == "number":
            return names.numbered_name(there, bump)
        return names.dated_name(day, config_sha256, data_sha256, there)

    def publish(self, draft: Path, metadata: ModelMetadata, *, overwrite: bool = False) -> Version:
        """Give a draft its name: `metadata.version`, among the versions or the snapshots.

        What had the name becomes a backup. If it is damaged, it makes way without `overwrite`.

        Raises:
            Conflict: the name is taken.
            InvalidRequest: the name, the metadata or the draft is not what a version has.
            StoreError: the disk does not take it.
        """
        _check(metadata, self.model_id)
        kind, name = metadata.kind, metadata.version
        with explained():
            manifest = write_manifest(draft, metadata)
        target = self._layout.folder(kind) / name
        with self._layout.writing():
            if not overwrite and _is_whole(target):
                raise Conflict(f"{self.model_id} has a {kind} {name} already; name another")
            self._layout.place(draft, target)
            self._prune_backups(name, kept=self._config.backups)
            self.aliases.refresh_views()
        drafts.sweep(self._layout)
        log.info("published %s %s", self.model_id, name)
        return Version(name, kind, target, manifest, self._aliases_of(name))

    def restore(self, name: str) -> Version:
        """Put the newest backup of a name back; what has the name now becomes a backup.

        Raises:
            VersionNotFound: there is no backup of it.
            VersionDamaged: the backup is not what was written.
        """
        backups = self._layout.backups_of(name)
        if not backups:
            raise VersionNotFound(f"{self.model_id} has no backup of {name[:80]!r}")
        metadata = verify(backups[-1][1]).metadata
        with self.new_draft() as draft, explained():
            shutil.copytree(backups[-1][1], draft, dirs_exist_ok=True)
            return self.publish(draft, metadata, overwrite=True)

    def retain(self) -> list[str]:
        """Remove what the policy does not keep, and give the names of what was removed.

        What an alias means, would mean after a rollback, or anybody holds is never removed.
        Damaged versions are not counted and stay, for a person to look at.
        """
        with self._layout.writing():
            protected = self.aliases.protected()
            versions = [version.metadata for version in self.versions()]
            removed = self._remove("version", superfluous(versions, self._config, protected))
            snapshots = [snapshot.name for snapshot in self.snapshots()]
            beyond = superfluous_snapshots(snapshots, self._config, protected)
            removed += self._remove("snapshot", beyond)
            self._prune()
            self.aliases.refresh_views()
        drafts.sweep(self._layout)
        return removed

    def hold(self, version: Version) -> Hold:
        """Keep a version from being removed while this process uses it.

        Raises:
            VersionNotFound: it was removed already.
        """
        lock = self._hold_file(version.name)
        with explained():
            hold = Hold(lock)
        if self._layout.find(version.kind, version.name) is None:
            hold.release()
            with unused(lock):  # which removes the file
                raise self._not_found(version.name)
        return hold

    def versions(self) -> list[Version]:
        """List the versions, the newest first; invalid ones are left out."""
        found = self._catalog.all("version", self.aliases.all())
        return sorted(found, key=lambda version: _age(version.metadata), reverse=True)

    def snapshots(self) -> list[Version]:
        """List the snapshots, the newest cutoff first; invalid ones are left out."""
        found = self._catalog.all("snapshot", self.aliases.all())
        return sorted(found, key=lambda version: _age(version.metadata), reverse=True)

    def get(self, name_or_alias: str) -> Version:
        """Find a version by its name, an alias, or the date of a snapshot, and verify it.

        Raises:
            VersionNotFound: there is none; lists those there are.
            VersionDamaged: a file of it is not what was written; names the file, and the next
                older version that is good.
        """
        aliases = self.aliases.all()
        kind, name = self._meant(name_or_alias)
        try:
            found = self._catalog.find(kind, name, aliases)
        except VersionDamaged as error:
            older = self._older_than(kind, name)
            advice = f"the next older good one is {older}" if older else "no older one is good"
            raise VersionDamaged(f"{self.model_id}: {error}; {advice}") from error
        if found is None:
            raise self._not_found(name_or_alias)
        return found

    def snapshot(self, cutoff: date) -> Version | None:
        """Find the snapshot of a date; None where there is none that is good."""
        return self._catalog.good("snapshot", names.snapshot_name(cutoff), self.aliases.all())

    def newest_before(
        self,
        moment: datetime | np.datetime64,
        suits: Callable[[Version], bool] = lambda _: True,
    ) -> Version | None:
        """Find the version or snapshot of the newest cutoff at or before a moment, if it suits.

        Raises:
            ValueError: this is no moment.
        """
        found = newest_cutoffs([*self.versions(), *self.snapshots()], moment)
        return self._first_good(version for version in found if suits(version))

    def closest_snapshot(self, cutoff: date) -> Version | None:
        """Find the newest snapshot of a date or an earlier one."""
        return self._first_good(newest_cutoffs(self.snapshots(), day_end(cutoff)))

    def find_equal(self, *, config_sha256: str, data_sha256: str) -> Version | None:
        """Find the newest version that was trained with this configuration on this data."""
        wanted = (config_sha256, data_sha256)
        return self._first_good(
            version
            for version in self.versions()
            if (version.metadata.config_sha256, version.metadata.data_sha256) == wanted
        )

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

    def _remove(self, kind: Kind, superfluous: Iterable[str]) -> list[str]:
        gone = []
        for name in superfluous:
            with unused(self._hold_file(name)) as is_unused:
                if is_unused:
                    drafts.put_away(self._layout.folder(kind) / name, self._layout)
                    self._prune_backups(name, kept=0)
                    gone.append(name)
        return gone

    def _prune(self) -> None:
        for name in self._layout.backed_up():
            self._prune_backups(name, kept=self._config.backups)
        for run in self._layout.checkpoints.glob("*"):
            checkpoint_states.prune(run, self._config.max_checkpoints)
        checkpoint_states.prune_runs(self._layout.checkpoints, self._config.max_runs)

    def _prune_backups(self, name: str, *, kept: int) -> None:
        backups = self._layout.backups_of(name)
        for _, path in backups[: max(0, len(backups) - kept)]:
            drafts.put_away(path, self._layout)

    def _meant(self, name_or_alias: str) -> tuple[Kind, str]:
        found = names.parsed(name_or_alias)
        if found is None:
            found = names.parsed(self.aliases.get(name_or_alias) or "")
        if found is None:
            raise self._not_found(name_or_alias)
        return found

    def _not_found(self, name: str) -> VersionNotFound:
        there = [version.name for version in (*self.versions(), *self.snapshots())]
        aliases = self.aliases.all()
        if not there:
            return VersionNotFound(f"the store holds no version of {self.model_id}; train one")
        known = ", ".join(there[:_LISTED]) + (", …" if len(there) > _LISTED else "")
        known += f"; aliases: {', '.join(aliases)}" if aliases else ""
        missing = f"{name[:80]!r}"
        missing += f", which means {aliases[name]}" if name in aliases else ""
        return VersionNotFound(f"{self.model_id} has no version {missing}; there are {known}")

    def _first_good(self, versions: Iterable[Version]) -> Version | None:
        aliases = self.aliases.all()
        good = (self._catalog.good(one.kind, one.name, aliases) for one in versions)
        return next(filter(None, good), None)

    def _older_than(self, kind: Kind, name: str) -> str | None:
        """Name the next good one; of a version whose manifest cannot be read, the newest."""
        others = self.versions() if kind == "version" else self.snapshots()
        manifest = read_manifest(self._layout.folder(kind) / name)
        if manifest is not None:
            age = _age(manifest.metadata)
            others = [other for other in others if _age(other.metadata) < age]
        found = self._first_good(other for other in others if other.name != name)
        return found.name if found else None

    def _aliases_of(self, name: str) -> tuple[str, ...]:
        return tuple(alias for alias, of in self.aliases.all().items() if of == name)

    def _hold_file(self, name: str) -> Path:
        return self._layout.holds / name

    def _run(self, run: str) -> Path:
        if not names.RUN.fullmatch(run):
            raise InvalidRequest("the name of a run has letters, digits, . _ - only")
        return self._layout.checkpoints / run


def _age(metadata: ModelMetadata) -> tuple[datetime, str]:
    """Order versions by when they were made, snapshots by their date."""
    if metadata.kind == "snapshot" and metadata.cutoff is not None:
        return metadata.cutoff, metadata.version
    return metadata.created_at, metadata.version


def _is_whole(path: Path) -> bool:
    """Whether a name is taken by a version that is as it was written, or may be."""
    if not path.is_dir():
        return False
    if is_of_later_format(path):
        return True
    try:
        return bool(verify(path).files)
    except VersionDamaged as error:
        log.warning("a damaged version makes way for a new one: %s", error)
        return False


def _check(metadata: ModelMetadata, model_id: str) -> None:
    name = metadata.version
    if metadata.model_id != model_id:
        raise InvalidRequest(f"this is a version of {metadata.model_id}, not {model_id}")
    if metadata.kind == "version":
        if not names.VERSION.fullmatch(name):
            raise InvalidRequest("a version is named v, a digit, then letters, digits, . _ -")
        return
    day = names.snapshot_day(name)
    if day is None or name != names.snapshot_name(day) or metadata.cutoff_date != day:
        raise InvalidRequest("a snapshot is named snapshot_YYYY-MM-DD, after its cutoff")
