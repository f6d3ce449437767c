"""The way to an MLflow server: its client, whether it is up, and its errors in our words.

Credentials are MLflow's own affair (`MLFLOW_TRACKING_USERNAME`, `_PASSWORD`, `_TOKEN`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from forecast.core.errors import (
    Conflict,
    Forbidden,
    ForecastError,
    InvalidRequest,
    MissingLibrary,
    SourceUnavailable,
    UnknownSource,
)

_TIMEOUT_S = 5.0
_RETRIES = "2"  # the client's own seven take two minutes


class Tracking:
    """Reaches one server; safe in several threads."""

    def __init__(self, uri: str | None, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.uri = uri
        self._timeout_s = timeout_s

    def location(self, name: str, version: str) -> str:
        client = self.client()
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

    def download(self, location: str, folder: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        return Path(
            download_artifacts(
                artifact_uri=location,
                dst_path=str(folder),
                tracking_uri=self.uri,
                registry_uri=self.uri,
            )
        )

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def answering(self, source: str) -> Iterator[None]:
        """Make sure that the library and the server are there; say their errors in our words."""
        mlflow_exception = _import_mlflow()
        self._ping()
        try:
            yield
        except mlflow_exception as error:
            raise _explained(error, f"mlflow:{source}") from error
        except (OSError, HTTPException) as error:
            raise SourceUnavailable(
                f"mlflow:{source} could not be copied whole; try again"
            ) from error

    def _ping(self) -> None:
        """Ask once: MLflow's own client tries a server that is down for minutes."""
        if self.uri is None:
            raise InvalidRequest(
                "mlflow: sources need the address of a tracking server; set the gateway's"
                " MLflow tracking address"
            )
        if urlsplit(self.uri).scheme not in ("http", "https"):
            raise InvalidRequest("the MLflow tracking address must be an http(s) URL")
        try:
            with urlopen(f"{self.uri.rstrip('/')}/health", timeout=self._timeout_s):
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
    """Import the client lazily, for it takes a second and is an extra, as we want it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
    try:
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            "mlflow: sources need mlflow-skinny, which is not installed;"
            " install it with: pip install 'forecast-gateway[mlflow]'"
        ) from error
    failure: type[Exception] = MlflowException
    return failure


def _explained(error: Any, source: str) -> ForecastError:
    status = error.get_http_status_code()
    if error.error_code == "RESOURCE_ALREADY_EXISTS":
        return Conflict(f"{source} was changed by another meanwhile; try again")
    if error.error_code == "RESOURCE_DOES_NOT_EXIST" or status == 404:
        return UnknownSource(f"the MLflow server has no {source}")
    if status in (401, 403):
        return Forbidden(f"the MLflow server refuses {source} to this user")
    if status in (400, 422):
        return UnknownSource(f"the MLflow server does not know {source}")
    return SourceUnavailable(f"the MLflow server could not give {source}")
