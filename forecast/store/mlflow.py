"""Checkpoints of an MLflow server: versions of registered models, and artifacts of runs.

Versions do not change, so a version is downloaded once and then needs no server; an alias is
looked up at each load. Of what a server sends, only safetensors and text files are kept.
"""

import hashlib
import os
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

from forecast.core.atomic import discard, locked, publish
from forecast.core.errors import InvalidRequest, UnknownSource
from forecast.store.checkpoint import PATTERNS, find_checkpoint
from forecast.store.tracking import Tracking

_DRAFT = ".draft-"


class TrackingServer:
    """Downloads checkpoints into `<cache>/<server>/`; safe in several threads and processes."""

    def __init__(self, uri: str | None, cache: Path) -> None:
        self._tracking = Tracking(uri)
        # Another server's version 1 of the same name is another model.
        self._cache = cache / hashlib.sha256((uri or "").encode()).hexdigest()[:12]

    def version_of(self, name: str, alias: str) -> str:
        """Look up which version an alias means now.

        Raises:
            UnknownSource: there is no such model, or no such alias of it.
            SourceUnavailable: the server does not answer.
        """
        with self._tracking.answering(f"models:/{name}@{alias}"):
            return str(self._tracking.client().get_model_version_by_alias(name, alias).version)

    def fetch_version(self, name: str, version: str) -> Path:
        """Bring the checkpoint of a registered version here, unless it is here already.

        Raises:
            UnknownSource: there is no such model or version.
            SourceUnavailable: the server does not answer.
            UnsupportedFormat: it holds no safetensors.
        """

        def download(folder: Path) -> Path:
            return self._tracking.download(self._tracking.location(name, version), folder)

        target = self._cache / "models" / _file_name(name) / version
        return self._cached(target, f"models:/{name}/{version}", download)

    def fetch_run(self, run_id: str, path: str) -> Path:
        """Bring the checkpoint in a run's artifacts here, unless it is here already.

        Raises:
            UnknownSource: there is no such run, or nothing at that path.
            SourceUnavailable: the server does not answer.
            UnsupportedFormat: it holds no safetensors.
        """
        source = f"runs:/{run_id}/{path}"

        def download(folder: Path) -> Path:
            if not self._tracking.client().list_artifacts(run_id, path):
                raise UnknownSource(f"mlflow:{source}: the run has no folder of this name")
            return self._tracking.download(source, folder)

        return self._cached(self._cache / "runs" / run_id / _file_name(path), source, download)

    def _cached(self, target: Path, source: str, download: Callable[[Path], Path]) -> Path:
        """Run the download into a draft, keep what we take of it, and give it its name."""
        if target.is_dir():
            return find_checkpoint(target)
        with locked(target.parent / ".lock"):
            for abandoned in target.parent.glob(f"{_DRAFT}*"):
                discard(abandoned)
            if not target.is_dir():
                draft = Path(mkdtemp(prefix=_DRAFT, dir=target.parent))
                try:
                    with self._tracking.answering(source):
                        folder = download(draft)
                    _keep_safe_files(folder)
                    find_checkpoint(folder)
                    publish(folder, target)
                finally:
                    discard(draft)
        return find_checkpoint(target)


def _keep_safe_files(folder: Path) -> None:
    """Remove whatever could hold a pickle or point elsewhere, so that no library falls for it.

    Raises:
        InvalidRequest: it is a file.
    """
    if not folder.is_dir():
        raise InvalidRequest("the source is one file; name the folder that it is in")
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if path.is_symlink() or not any(fnmatch(path.name, pattern) for pattern in PATTERNS):
                path.unlink()


def _file_name(name: str) -> str:
    """Make a name that is one safe part of a path."""
    safe = quote(name, safe="").replace(".", "%2E") if name.strip(".") == "" else quote(name, "")
    return safe if len(safe) <= 150 else hashlib.sha256(name.encode()).hexdigest()
