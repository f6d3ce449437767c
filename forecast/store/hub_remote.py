"""Versions of a model in a repository of the hub: a branch each, and `main` for the current one.

A version is on its branch whole or not at all, for it comes in one commit; the manifest on the
branch says whether it is there. Large files that a broken upload has sent are not sent again.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from forecast.core.atomic import discard, locked
from forecast.core.errors import Conflict, ForecastError, SourceUnavailable, UnknownSource
from forecast.store.hub_client import connect
from forecast.store.hub_errors import explained
from forecast.store.hub_settings import HubSettings
from forecast.store.manifest import MANIFEST, Manifest, read_manifest
from forecast.store.names import CURRENT, SNAPSHOT_PREFIX
from forecast.store.remote import (
    Copy,
    is_version_name,
    read_manifest_of,
    require_older,
    require_sendable,
    require_version_name,
    take_in,
)
from forecast.store.versions import ModelShelf, Version

_MAIN = "main"
_BRANCH_PREFIX = "snapshot-"
_PLACE = "the hub"
_MOST_MANIFEST_BYTES = 1 << 20
_SILENT = (
    "{source}: the hub does not answer, or ended a transfer; check the network and the hub's"
    " address, and sync again: what has arrived is not sent twice"
)

_ERRORS = (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError, RuntimeError)


class HubRemote:
    """One repository, made private where it is missing. Safe in several processes."""

    name = "hf"

    def __init__(self, shelf: ModelShelf, repo: str, settings: HubSettings, staging: Path) -> None:
        """Remember where things are; nothing is asked yet.

        Args:
            repo: `organization/name`.
            staging: folder for downloads under way; what a broken one leaves is gone on with.
        """
        self._shelf = shelf
        self._repo = repo
        self._settings = settings
        self._api = connect(settings.hf_endpoint, settings.token)
        place = hashlib.sha256(f"{self._api.endpoint}/{repo}".encode()).hexdigest()[:12]
        self._staging = staging / place

    def upload(self, version: Version) -> Copy:
        """Copy a version to its branch; see `Remote.upload`."""
        return self._send(version, _branch_of(version.name), f"Add {version.name}")

    def download(self, name: str) -> Version:
        """Copy a version from its branch; see `Remote.download`."""
        require_version_name(name)
        branch = _branch_of(name)
        with self._answering(branch):
            commit = self._head(branch)
            with locked(self._staging / f"{name}.lock"):
                staged = self._stage(name, commit)
                try:
                    return take_in(self._shelf, name, _PLACE, _moving(staged))
                finally:
                    discard(staged.parent)

    def names(self) -> list[str]:
        """List what has a branch."""
        with self._answering(_MAIN):
            refs = self._api.list_repo_refs(self._repo)
        names = (_name_of(branch.name) for branch in refs.branches)
        return sorted(name for name in names if is_version_name(name))

    def aliases(self) -> dict[str, str]:
        """Look up which version `main` holds."""
        with self._answering(_MAIN):
            manifest = self._manifest(self._head(_MAIN))
        return {CURRENT: manifest.metadata.version} if manifest else {}

    def push_aliases(self, aliases: Mapping[str, str]) -> list[str]:
        """Let `main` hold the current version; a hub has no place for other aliases."""
        name = aliases.get(CURRENT)
        if name is None:
            return []
        copy = self._send(self._shelf.get(name), _MAIN, f"Serve {name}")
        return [CURRENT] if copy.is_new else []

    def _send(self, version: Version, branch: str, message: str) -> Copy:
        require_sendable(version)
        with self._answering(branch), self._shelf.hold(version):
            head = self._head_or_new(branch)
            there = self._manifest(head)
            if there is not None and there.files == version.manifest.files:
                return Copy(f"hf:{self._repo}@{head}", is_new=False)
            if there is not None and there.metadata.version == version.name:
                require_older(there.metadata.created_at, version, _PLACE)
            commit = self._commit(version, branch, message, head, there)
            return Copy(f"hf:{self._repo}@{commit}", is_new=True)

    def _commit(
        self, version: Version, branch: str, message: str, head: str, there: Manifest | None
    ) -> str:
        """Put all files of a version on a branch at once, and take those of another one away."""
        names = [*version.manifest.files, MANIFEST]
        former = there.files.keys() - names if there else set()
        here = {file.path for file in self._files(head)} if former else set()
        done = self._api.create_commit(
            self._repo,
            [
                *(CommitOperationAdd(name, version.path / name) for name in names),
                *(CommitOperationDelete(name) for name in sorted(former & here)),
            ],
            commit_message=message,
            revision=branch,
            parent_commit=head,
        )
        return str(done.oid)

    def _head_or_new(self, branch: str) -> str:
        """Find the commit of a branch; make the branch, and the repository, if missing."""
        try:
            return self._head(branch)
        except RepositoryNotFoundError:
            self._api.create_repo(self._repo, private=True, exist_ok=True)
        except RevisionNotFoundError:
            pass
        self._api.create_branch(self._repo, branch=branch, exist_ok=True)
        return self._head(branch)

    def _head(self, branch: str) -> str:
        """Ask once, without the client's retries, so that a hub that is down is soon known."""
        info = self._api.model_info(
            self._repo, revision=branch, timeout=self._settings.hf_timeout_s, files_metadata=False
        )
        if info.sha is None:
            raise SourceUnavailable("the hub did not say which commit it would send")
        return info.sha

    def _manifest(self, commit: str) -> Manifest | None:
        """Read the manifest at a commit; None where there is none, or none that can be read."""
        sizes = {file.path: file.size for file in self._files(commit)}
        if sizes.get(MANIFEST, _MOST_MANIFEST_BYTES) >= _MOST_MANIFEST_BYTES:
            return None
        self._staging.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self._staging) as folder:
            self._fetch(MANIFEST, commit, Path(folder))
            return read_manifest(Path(folder))

    def _files(self, commit: str) -> list[RepoFile]:
        tree = self._api.list_repo_tree(self._repo, revision=commit, recursive=True)
        return [entry for entry in tree if isinstance(entry, RepoFile)]

    def _stage(self, name: str, commit: str) -> Path:
        """Bring the files of a commit here that its manifest names; go on where one was broken."""
        folder = self._staging / name / commit
        for other in folder.parent.glob("*"):
            if other != folder:
                discard(other)
        folder.mkdir(parents=True, exist_ok=True)
        sizes = {file.path: file.size for file in self._files(commit)}
        if not 0 < sizes.get(MANIFEST, 0) < _MOST_MANIFEST_BYTES:
            raise UnknownSource(f"hf:{self._repo}@{_branch_of(name)} holds no version of ours")
        self._fetch(MANIFEST, commit, folder)
        manifest = read_manifest_of(folder, self._shelf, name, _PLACE)
        for file, entry in manifest.files.items():
            if sizes.get(file) != entry.size:
                raise SourceUnavailable(
                    f"{name} is damaged on the hub: {file} is missing or of another size"
                )
            self._fetch(file, commit, folder)
        return folder

    def _fetch(self, file: str, commit: str, folder: Path) -> None:
        self._api.hf_hub_download(
            self._repo,
            file,
            revision=commit,
            local_dir=folder,
            etag_timeout=self._settings.hf_timeout_s,
        )

    @contextmanager
    def _answering(self, branch: str) -> Iterator[None]:
        """Say in our words what the client says in its own; ask nothing if that is not wanted."""
        source = f"hf:{self._repo}@{branch}"
        if self._settings.hf_offline:
            raise SourceUnavailable(f"{source} is not reached: the hub is set to be left alone")
        try:
            yield
        except ForecastError:
            raise
        except _ERRORS as error:
            raise _explained(error, source) from error


def _explained(error: Exception, source: str) -> ForecastError:
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of one file of several
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (409, 412):
        return Conflict(f"{source} was changed by another meanwhile; sync again")
    return explained(error, source, _SILENT)


def _branch_of(name: str) -> str:
    return name.replace(SNAPSHOT_PREFIX, _BRANCH_PREFIX, 1)


def _name_of(branch: str) -> str:
    return branch.replace(_BRANCH_PREFIX, SNAPSHOT_PREFIX, 1)


def _moving(staged: Path) -> Callable[[Path], None]:
    """Make what moves the files of a staged version, and nothing else there, into a draft."""

    def move(draft: Path) -> None:
        manifest = read_manifest(staged)
        for file in [MANIFEST, *(manifest.files if manifest else ())]:
            (draft / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(staged / file, draft / file)

    return move
