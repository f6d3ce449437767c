"""Checkpoints of a model hub, each at one commit, kept in the hub client's own cache.

A source without a revision, or at `main`, is pinned: the commit found at its first use is
written to `pins.json` in the cache, and every later load takes that commit, without asking the
hub. To move on, name the revision (`hf:<repo>@<commit or tag>`), or remove the line of the pin.
A branch or tag named is looked up at each load; while the hub is down, it is what it last was.
By when a commit was published is kept in `published.json`: its weights know of nothing later.
"""

import json
import re
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from forecast.core.atomic import locked, write_text
from forecast.core.errors import SourceUnavailable, UnsupportedFormat
from forecast.store.checkpoint import PATTERNS, WEIGHTS, file_digest, require_weights
from forecast.store.hub_client import connect
from forecast.store.hub_errors import explained, is_down
from forecast.store.hub_settings import HubSettings

COMMIT = re.compile(r"[0-9a-f]{40}")
DEFAULT_REVISION = "main"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOST = "what the hub sent does not match its checksum; load again to download it anew"


class Hub:
    """Downloads snapshots; safe to use from several threads and processes."""

    def __init__(self, settings: HubSettings, cache: Path) -> None:
        self._settings = settings
        self._pins = cache / "pins.json"
        self._dates = cache / "published.json"
        self._cache = settings.hf_cache or cache / "hub"
        self._token: str | bool = settings.token or False
        self._api = connect(settings.hf_endpoint, settings.token)

    def fetch(self, repo: str, revision: str | None) -> tuple[str, Path]:
        """Bring a snapshot here: safetensors and text files, nothing that can hold a pickle.

        Args:
            revision: a commit, tag or branch; None and `main` mean the pinned commit.

        Returns:
            The commit, 40 hex digits, and the folder that holds its files.

        Raises:
            UnknownSource: no such repository or revision.
            Forbidden: it is gated or private, and the token does not open it.
            UnsupportedFormat: it holds no safetensors.
            SourceUnavailable: the hub does not answer and the cache has no copy.
        """
        name = revision or DEFAULT_REVISION
        known = None if COMMIT.fullmatch(name) else self._known(repo, name)
        wanted = known if known and name == DEFAULT_REVISION else name
        try:
            commit, folder = self._snapshot(repo, wanted, known)
        except (HfHubHTTPError, httpx2.HTTPError, OSError, HFValidationError) as error:
            raise explained(error, f"hf:{repo}@{wanted}") from error
        require_weights(folder)
        _verify(folder)
        if commit not in (name, known):
            is_pin = name == DEFAULT_REVISION
            self._write_down(self._pins, f"{repo}@{name}", commit, first_counts=is_pin)
        return commit, folder

    def published_at(self, repo: str, commit: str) -> datetime | None:
        """Tell when a commit was there at the latest; None where the hub has not said so."""
        told = self._read(self._dates).get(self._key(f"{repo}@{commit}"))
        return datetime.fromisoformat(told) if isinstance(told, str) else None

    def _snapshot(self, repo: str, revision: str, known: str | None) -> tuple[str, Path]:
        """Take a snapshot from the cache if it is surely whole there, else from the hub.

        Args:
            known: the commit that the revision was when last asked.
        """
        if self._settings.hf_offline or (COMMIT.fullmatch(revision) and self._has(repo, revision)):
            return self._cached(repo, known or revision)
        try:
            commit = self._ask(repo, revision)
        except (httpx2.TransportError, OfflineModeIsEnabled, HfHubHTTPError) as error:
            if not is_down(error):
                raise
            return self._cached(repo, known or revision)
        folder = snapshot_download(
            repo,
            revision=commit,
            cache_dir=self._cache,
            allow_patterns=list(PATTERNS),
            endpoint=self._settings.hf_endpoint,
            token=self._token,
            etag_timeout=self._settings.hf_timeout_s,
        )
        return commit, Path(folder)

    def _ask(self, repo: str, revision: str) -> str:
        """Ask once, without the client's retries, which take 23 s per file when it is down."""
        info = self._api.model_info(repo, revision=revision, timeout=self._settings.hf_timeout_s)
        files = [sibling.rfilename for sibling in info.siblings or ()]
        if not any(fnmatch(file, WEIGHTS) for file in files):
            raise UnsupportedFormat(
                f"hf:{repo} holds no safetensors at {revision};"
                " weights in other formats (pickles such as *.bin, *.ckpt, *.pt) are not loaded"
            )
        if info.sha is None:
            raise SourceUnavailable("the hub did not say which commit it would send")
        if info.last_modified is not None:
            self._write_down(self._dates, f"{repo}@{info.sha}", info.last_modified.isoformat())
        return info.sha

    def _has(self, repo: str, commit: str) -> bool:
        """Tell whether the cache is known to hold every file of a commit that we take."""
        try:
            get_cached_repo_tree(repo, revision=commit, cache_dir=self._cache)
            self._cached(repo, commit)
        except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError):
            return False
        return True

    def _cached(self, repo: str, revision: str) -> tuple[str, Path]:
        folder = snapshot_download(
            repo,
            revision=revision,
            cache_dir=self._cache,
            allow_patterns=list(PATTERNS),
            local_files_only=True,
        )
        return Path(folder).name, Path(folder)

    def _known(self, repo: str, name: str) -> str | None:
        commit = self._read(self._pins).get(self._key(f"{repo}@{name}"))
        return commit if isinstance(commit, str) and COMMIT.fullmatch(commit) else None

    def _write_down(self, file: Path, what: str, value: str, *, first_counts: bool = True) -> None:
        """Keep what a name means, or when a commit was there, for when the hub is not asked."""
        key = self._key(what)
        with locked(file.with_suffix(".lock")):
            there = self._read(file)
            if not (first_counts and key in there):
                write_text(file, json.dumps(there | {key: value}, indent=2, sort_keys=True) + "\n")

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            found = json.loads(file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise SourceUnavailable(
                f"{file.name} in the cache of weights is not valid JSON; mend or remove it"
            ) from error
        return found if isinstance(found, dict) else {}

    def _key(self, what: str) -> str:
        return f"{self._api.endpoint}/{what}"


def _verify(folder: Path) -> None:
    """Compare weights with the digest that hubs name large files by, and drop what differs."""
    for link in folder.rglob(WEIGHTS):
        blob = link.resolve()
        if _SHA256.fullmatch(blob.name) and file_digest(blob) != blob.name:
            link.unlink()
            blob.unlink()
            raise SourceUnavailable(_LOST)
