"""Versions of a model on an MLflow server: each a run, registered, and found again by its tags.

Metrics and configuration are in the run, so that MLflow's pages compare versions; the files are
its artifacts. A version counts from its registration on, which is the last step.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from forecast.core.errors import SourceUnavailable, UnknownSource
from forecast.store.manifest import MANIFEST
from forecast.store.remote import (
    Copy,
    content_sha256,
    is_version_name,
    read_manifest_of,
    require_older,
    require_sendable,
    require_version_name,
    take_in,
)
from forecast.store.tracking import Tracking
from forecast.store.versions import ModelShelf, Version

_PLACE = "the MLflow server"
_FOLDER = "model"
_VERSION, _CONTENT = "forecast.version", "forecast.content_sha256"
_CREATED = "forecast.created_at"
_NO_ALIAS = "latest"  # MLflow keeps this word for itself
_MOST_PARAMETERS, _BATCH = 200, 100
_LONGEST_NAME, _LONGEST_VALUE = 250, 500


class MlflowRemote:
    """One registered model, made where it is missing. Safe in several processes."""

    name = "mlflow"

    def __init__(
        self,
        shelf: ModelShelf,
        tracking: Tracking,
        *,
        prefix: str = "forecast-",
        experiment: str = "forecast",
    ) -> None:
        """Remember where things are; nothing is asked yet.

        Args:
            prefix: the registered model is called `<prefix><model_id>`.
            experiment: the one that runs belong to.
        """
        self._shelf = shelf
        self._tracking = tracking
        self._registered = f"{prefix}{shelf.model_id}"
        self._experiment = experiment

    def upload(self, version: Version) -> Copy:
        """Log a version as a run and register it; see `Remote.upload`."""
        require_sendable(version)
        with self._tracking.answering(self._source(version.name)), self._shelf.hold(version):
            found = self._versions().get(version.name)
            if found and found.tags.get(_CONTENT) == content_sha256(version.manifest):
                return Copy(f"mlflow:{self._source(found.version)}", is_new=False)
            if found:
                require_older(datetime.fromisoformat(found.tags[_CREATED]), version, _PLACE)
            run_id = self._run(version)
            self._send_files(version, run_id)
            self._tracking.client().set_terminated(run_id)
            number = self._register(version, run_id)
            return Copy(f"mlflow:{self._source(number)}", is_new=True)

    def download(self, name: str) -> Version:
        """Import a registered version; see `Remote.download`."""
        require_version_name(name)
        with self._tracking.answering(self._source(name)):
            found = self._versions().get(name)
            if found is None:
                raise UnknownSource(f"the MLflow server has no {name} of {self._registered}")
            return take_in(self._shelf, name, _PLACE, lambda draft: self._fetch(found, draft))

    def names(self) -> list[str]:
        """List what is registered."""
        with self._tracking.answering(f"models:/{self._registered}"):
            return sorted(self._versions())

    def aliases(self) -> dict[str, str]:
        """Look up which version each alias means there."""
        with self._tracking.answering(f"models:/{self._registered}"):
            names = {found.version: name for name, found in self._versions().items()}
            return {
                alias: names[number] for alias, number in self._numbers().items() if number in names
            }

    def push_aliases(self, aliases: Mapping[str, str]) -> list[str]:
        """Set the aliases of the registered model; those only it knows are left alone."""
        changed = []
        wanted = {alias: name for alias, name in aliases.items() if alias != _NO_ALIAS}
        for name in set(wanted.values()):
            self.upload(self._shelf.get(name))
        with self._tracking.answering(f"models:/{self._registered}"):
            there, numbers = self._versions(), self._numbers() if wanted else {}
            for alias, name in wanted.items():
                if numbers.get(alias) != there[name].version:
                    client = self._tracking.client()
                    client.set_registered_model_alias(self._registered, alias, there[name].version)
                    changed.append(alias)
        return changed

    def _source(self, version: str) -> str:
        return f"models:/{self._registered}/{version}"

    # The registry

    def _versions(self) -> dict[str, Any]:
        """Find what is registered, by our names; the newest of each."""
        client, token = self._tracking.client(), None
        found: dict[str, Any] = {}
        while True:
            page = client.search_model_versions(f"name='{self._registered}'", page_token=token)
            for one in page:
                name = one.tags.get(_VERSION, "")
                newer = name not in found or int(one.version) > int(found[name].version)
                if is_version_name(name) and one.status == "READY" and newer:
                    found[name] = one
            token = page.token
            if not token:
                return found

    def _numbers(self) -> dict[str, str]:
        """Find the number of the version that each alias means."""
        model = self._tracking.client().get_registered_model(self._registered)
        return {alias: str(number) for alias, number in model.aliases.items()}

    def _register(self, version: Version, run_id: str) -> str:
        client = self._tracking.client()
        if not client.search_registered_models(f"name='{self._registered}'"):
            client.create_registered_model(self._registered)
        registered = client.create_model_version(
            self._registered, f"runs:/{run_id}/{_FOLDER}", run_id, tags=_tags(version)
        )
        return str(registered.version)

    # The run

    def _run(self, version: Version) -> str:
        """Find the run of an upload that was broken off, or begin one."""
        client, tags = self._tracking.client(), _tags(version)
        experiment = client.get_experiment_by_name(self._experiment)
        number = experiment.experiment_id if experiment else self._new_experiment()
        same = f"tags.`{_CONTENT}` = '{tags[_CONTENT]}' and tags.`{_VERSION}` = '{version.name}'"
        same += f" and tags.`forecast.model_id` = '{self._shelf.model_id}'"
        runs = client.search_runs([number], same, max_results=1)
        if runs:
            return str(runs[0].info.run_id)
        run = client.create_run(
            number, tags=tags, run_name=f"{self._shelf.model_id} {version.name}"
        )
        return str(run.info.run_id)

    def _new_experiment(self) -> str:
        return str(self._tracking.client().create_experiment(self._experiment))

    def _send_files(self, version: Version, run_id: str) -> None:
        """Send the metrics, the configuration and those files that are not there whole."""
        from mlflow.entities import Metric, Param

        client = self._tracking.client()
        moment = int(version.metadata.created_at.timestamp() * 1000)
        metrics = [
            Metric(_key(name), value, moment, 0)
            for name, value in version.metadata.metrics.items()
            if math.isfinite(value)
        ]
        client.log_batch(run_id, metrics=metrics[:_BATCH])
        parameters = [Param(*pair) for pair in _parameters(version.path / "config.json").items()]
        for start in range(0, len(parameters), _BATCH):
            client.log_batch(run_id, params=parameters[start : start + _BATCH])
        there = dict(self._artifacts(run_id, _FOLDER))
        for file in [*version.manifest.files, MANIFEST]:
            path = PurePosixPath(_FOLDER, file)
            if there.get(path.as_posix()) != (version.path / file).stat().st_size:
                client.log_artifact(run_id, str(version.path / file), path.parent.as_posix())

    def _artifacts(self, run_id: str, folder: str) -> Iterator[tuple[str, int]]:
        """List the files of a run with their sizes in bytes."""
        for one in self._tracking.client().list_artifacts(run_id, folder):
            if one.is_dir:
                yield from self._artifacts(run_id, one.path)
            else:
                yield one.path, one.file_size or 0

    def _fetch(self, found: Any, draft: Path) -> None:
        """Bring the files here that the manifest names, and nothing else that may lie there."""
        self._fetch_file(found, MANIFEST, draft)
        name = found.tags[_VERSION]
        manifest = read_manifest_of(draft, self._shelf, name, _PLACE)
        sizes = dict(self._artifacts(found.run_id, _FOLDER))
        for file, entry in manifest.files.items():
            if sizes.get(f"{_FOLDER}/{file}") != entry.size:
                raise SourceUnavailable(
                    f"{name} is damaged on the MLflow server: {file} is missing or of another size"
                )
            self._fetch_file(found, file, draft)

    def _fetch_file(self, found: Any, file: str, folder: Path) -> None:
        location = self._tracking.location(self._registered, found.version)
        target = (folder / file).parent
        target.mkdir(parents=True, exist_ok=True)
        self._tracking.download(f"{location.rstrip('/')}/{file}", target)


def _tags(version: Version) -> dict[str, str]:
    metadata = version.metadata
    values = {
        _VERSION: version.name,
        _CONTENT: content_sha256(version.manifest),
        "forecast.model_id": metadata.model_id,
        "forecast.kind": version.kind,
        _CREATED: metadata.created_at.isoformat(),
        "forecast.cutoff": metadata.cutoff.isoformat() if metadata.cutoff else None,
        "forecast.weights_sha256": version.sha256,
        "forecast.data_sha256": metadata.data_sha256,
        "forecast.config_sha256": metadata.config_sha256,
        "forecast.data_reference": metadata.data_reference,
        "forecast.job_id": metadata.job_id,
        "mlflow.source.git.commit": metadata.git_commit,
    }
    return {name: value[:_LONGEST_VALUE] for name, value in values.items() if value}


def _parameters(config: Path) -> dict[str, str]:
    """Flatten a configuration to names with dots, of a number and length that MLflow takes."""
    try:
        document = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return {}
    flat = dict(_flattened(document, "config"))
    return dict(list(flat.items())[:_MOST_PARAMETERS])


def _flattened(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flattened(inner, f"{name}.{key}" if name != "config" else str(key))
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        yield _key(name), text[:_LONGEST_VALUE]


def _key(name: str) -> str:
    return re.sub(r"[^\w .:/-]", "_", name, flags=re.ASCII)[:_LONGEST_NAME]
