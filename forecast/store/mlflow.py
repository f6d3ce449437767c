"""Checkpoints of an MLflow server: versions of registered models, and artifacts of runs.

Versions do not change, so a version is downloaded once and then needs no server; an alias is
looked up at each load. Of what a server sends, only safetensors and text files are kept.
Credentials are MLflow's own affair (`MLFLOW_TRACKING_USERNAME`, `_PASSWORD`, `_TOKEN`).
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from tempfile import mkdtemp
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

from forecast.core.atomic import discard, locked, publish
from forecast.core.errors import (
    Forbidden,
    ForecastError,
    InvalidRequest,
    MissingLibrary,
    SourceUnavailable,
    UnknownSource,
)
from forecast.store.checkpoint import PATTERNS, find_checkpoint

_DRAFT = ".draft-"
_TIMEOUT_S = 5.0


class TrackingServer:
    """Downloads checkpoints into `<cache>/<server>/`; safe in several threads and processes."""

    def __init__(self, uri: str | None, cache: Path, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._uri = uri
        self._timeout_s = timeout_s
        # Another server's version 1 of the same name is another model.
        self._cache = cache / hashlib.sha256((uri or "").encode()).hexdigest()[:12]

    def version_of(self, name: str, alias: str) -> str:
        """Look up which version an alias means now.

        Raises:
            UnknownSource: there is no such model, or no such alias of it.
            SourceUnavailable: the server does not answer.
        """
        with self._answering(f"models:/{name}@{alias}"):
            return str(self._client().get_model_version_by_alias(name, alias).version)

    def fetch_version(self, name: str, version: str) -> Path:
        """Bring the checkpoint of a registered version here, unless it is here already.

        Raises:
            UnknownSource: there is no such model or version.
            SourceUnavailable: the server does not answer.
            UnsupportedFormat: it holds no safetensors.
        """

        def download(folder: Path) -> Path:
            return self._download(self._location(name, version), folder)

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
            if not self._client().list_artifacts(run_id, path):
                raise UnknownSource(f"mlflow:{source}: the run has no folder of this name")
            return self._download(source, folder)

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
                    with self._answering(source):
                        folder = download(draft)
                    _keep_safe_files(folder)
                    find_checkpoint(folder)
                    publish(folder, target)
                finally:
                    discard(draft)
        return find_checkpoint(target)

    def _location(self, name: str, version: str) -> str:
        client = self._client()
        location = str(client.get_model_version_download_uri(name, version))
        scheme, _, logged_model = location.partition(":/")
        if scheme == "models":
            location = str(client.get_logged_model(logged_model).artifact_location)
        if urlsplit(location).scheme in ("", "file"):
            raise Forbidden(
                f"mlflow:models:/{name}/{version} lies in a folder of the server, which is not read"
                " from here; let the server serve artifacts (mlflow server --serve-artifacts)"
            )
        return location

    def _download(self, location: str, folder: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        return Path(
            download_artifacts(
                artifact_uri=location,
                dst_path=str(folder),
                tracking_uri=self._uri,
                registry_uri=self._uri,
            )
        )

    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    @contextmanager
    def _answering(self, source: str) -> Iterator[None]:
        """Make sure that the library and the server are there; say their errors in our words."""
        mlflow_exception = _import_mlflow()
        self._ping()
        try:
            yield
        except mlflow_exception as error:
            raise _explained(error, f"mlflow:{source}") from error
        except (OSError, HTTPException) as error:
            raise SourceUnavailable(
                f"mlflow:{source} could not be downloaded whole; try again"
            ) from error

    def _ping(self) -> None:
        """Ask once: MLflow's own client tries a server that is down for minutes."""
        if self._uri is None:
            raise InvalidRequest(
                "mlflow: sources need the address of a tracking server; set the gateway's"
                " MLflow tracking address"
            )
        if urlsplit(self._uri).scheme not in ("http", "https"):
            raise InvalidRequest("the MLflow tracking address must be an http(s) URL")
        try:
            with urlopen(f"{self._uri.rstrip('/')}/health", timeout=self._timeout_s):
                return
        except HTTPError as error:
            error.close()  # it answered; what it thinks of the real question comes next
        except (URLError, OSError, HTTPException) as error:
            if not isinstance(getattr(error, "reason", None), SSLError):
                raise SourceUnavailable(
                    "the MLflow server does not answer; a version that was loaded before"
                    " (mlflow:models:/<name>/<version>) needs no server"
                ) from error


def _import_mlflow() -> type[Exception]:
    """Import the client lazily, for it takes a second and is an extra, with its reports off."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            "mlflow: sources need mlflow-skinny, which is not installed;"
            " install it with: pip install 'forecast-gateway[mlflow]'"
        ) from error
    return MlflowException


def _explained(error: Any, source: str) -> ForecastError:
    status = error.get_http_status_code()
    if error.error_code == "RESOURCE_DOES_NOT_EXIST" or status == 404:
        return UnknownSource(f"the MLflow server has no {source}")
    if status in (401, 403):
        return Forbidden(f"the MLflow server refuses {source} to this user")
    if status in (400, 422):
        return UnknownSource(f"the MLflow server does not know {source}")
    return SourceUnavailable(f"the MLflow server could not give {source}")


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
