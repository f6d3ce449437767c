"""Copies of versions elsewhere: the local store is always filled, a remote one follows it.

A remote that fails stops nothing: what was not copied is in the report, and the next sync copies
it. Nothing is remembered between two syncs; what is there and what is here is looked up.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from forecast.core.errors import ForecastError, UnknownSource, VersionDamaged, VersionNotFound
from forecast.store.names import snapshot_day, snapshot_name
from forecast.store.remote import Remote, is_version_name
from forecast.store.versions import ModelShelf, ModelStore, Version

log = logging.getLogger(__name__)

_ALL = "all"


@dataclass(slots=True)
class SyncReport:
    """What a sync did, by the names of versions.

    Attributes:
        skipped: was there already.
        aliases: changed, there or here.
        failed: name → why; `all` where nothing could be looked up, `aliases` for those.
    """

    uploaded: list[str] = field(default_factory=list)
    downloaded: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return asdict(self)


class StoreSync:
    """The store, and where each model's versions are copied to. Safe in several threads."""

    def __init__(self, store: ModelStore, remotes: Mapping[str, Remote]) -> None:
        """Remember both; nothing is asked yet.

        Args:
            remotes: model id → its place elsewhere; models not in it stay here.
        """
        self._store = store
        self._remotes = remotes

    def remote(self, model_id: str) -> Remote | None:
        """Give the place elsewhere of a model's versions."""
        return self._remotes.get(model_id)

    def upload(self, model_id: str, name: str) -> SyncReport:
        """Copy one version, by its name or an alias, if there is a place for it."""
        report = SyncReport()
        if remote := self.remote(model_id):
            self._upload(remote, self._store.model(model_id), name, report)
        return report

    def push_aliases(self, model_id: str) -> SyncReport:
        """Let the aliases mean there what they mean here; call it after one has changed."""
        report = SyncReport()
        if remote := self.remote(model_id):
            aliases = self._store.model(model_id).aliases.all()
            with _reporting(report, "aliases", model_id):
                report.aliases += remote.push_aliases(aliases)
        return report

    def ensure_available(self, model_id: str, name: str) -> Version | None:
        """Find a version here, or else bring it here; a damaged one is brought anew.

        Args:
            name: of a version or snapshot, an alias, or the date of a snapshot.

        Returns:
            None where it is nowhere, or cannot be had now; the log says which.
        """
        shelf = self._store.model(model_id)
        try:
            return shelf.get(name)
        except (VersionNotFound, VersionDamaged) as error:
            remote = self.remote(model_id)
            if remote is None:
                if isinstance(error, VersionDamaged):
                    log.warning("%s", error)
                return None
        try:
            return remote.download(_full_name(name, remote))
        except UnknownSource:
            return None
        except ForecastError as error:
            log.warning("%s %s was not brought from %s: %s", model_id, name, remote.name, error)
            return None

    def sync_all_to_remote(self, model_id: str) -> SyncReport:
        """Copy every version and snapshot that is not there yet, the oldest first; and aliases."""
        report = SyncReport()
        if remote := self.remote(model_id):
            shelf = self._store.model(model_id)
            for version in reversed([*shelf.versions(), *shelf.snapshots()]):
                self._upload(remote, shelf, version.name, report)
            pushed = self.push_aliases(model_id)
            report.aliases += pushed.aliases
            report.failed |= pushed.failed
        return report

    def sync_all_to_local(self, model_id: str) -> SyncReport:
        """Bring every version and snapshot here that is not; and aliases that mean nothing here.

        An alias that is set here is left as it is.
        """
        report = SyncReport()
        if remote := self.remote(model_id):
            shelf = self._store.model(model_id)
            with _reporting(report, _ALL, model_id):
                for name in remote.names():
                    self._download(remote, shelf, name, report)
                report.aliases += _adopted(shelf, remote)
        return report

    def _download(self, remote: Remote, shelf: ModelShelf, name: str, report: SyncReport) -> None:
        with _reporting(report, name, shelf.model_id):
            if _is_here(shelf, name):
                report.skipped.append(name)
            else:
                report.downloaded.append(remote.download(name).name)

    def _upload(self, remote: Remote, shelf: ModelShelf, name: str, report: SyncReport) -> None:
        with _reporting(report, name, shelf.model_id):
            version = shelf.get(name)
            copy = remote.upload(version)
            (report.uploaded if copy.is_new else report.skipped).append(version.name)


def _is_here(shelf: ModelShelf, name: str) -> bool:
    """Tell whether a version is here and good."""
    try:
        return shelf.get(name).name == name
    except (VersionNotFound, VersionDamaged):
        return False


def _adopted(shelf: ModelShelf, remote: Remote) -> list[str]:
    """Set the aliases that mean a version elsewhere, and nothing here."""
    adopted = []
    for alias, name in remote.aliases().items():
        if shelf.aliases.get(alias) is None and _is_here(shelf, name):
            shelf.aliases.set(alias, name, who="sync", why=f"as it is on {remote.name}")
            adopted.append(alias)
    return adopted


def _full_name(name: str, remote: Remote) -> str:
    """Write the name of a version or snapshot in full; an alias is looked up elsewhere."""
    if day := snapshot_day(name):
        return snapshot_name(day)
    return name if is_version_name(name) else remote.aliases().get(name, name)


@contextmanager
def _reporting(report: SyncReport, name: str, model_id: str) -> Iterator[None]:
    """Let a failure be a line of the report, and a warning in the log."""
    try:
        yield
    except ForecastError as error:
        report.failed[name] = str(error)
        log.warning("%s %s was not synced: %s", model_id, name, error)
    except Exception:
        # A server that answers what its client does not expect must not fail a training.
        report.failed[name] = "it failed for a reason of its own, which is in the log"
        log.exception("%s %s was not synced", model_id, name)
