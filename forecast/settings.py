"""The settings of a deployment: read once, by `main` or `host`, and passed down as values.

Each field is `FORECAST_<NAME>` in the environment. A list is JSON or has commas; a map is
JSON, or one variable per model: `FORECAST_PYTHON__MOIRAI=/opt/moirai/bin/python`.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from forecast.core.fields import Bytes, Names, Paths, SettingsGroup, variables
from forecast.data.policy import DataPolicy
from forecast.jobs.limits import JobLimits
from forecast.serving.limits import ServingLimits
from forecast.store.hub_settings import HubSettings

PREFIX = "FORECAST_"


def _is_http(urls: Mapping[str, str]) -> Mapping[str, str]:
    for model_id, url in urls.items():
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the host of {model_id} must be an http:// or https:// URL")
    return urls


def _is_strong(key: SecretStr | None) -> SecretStr | None:
    for one in key.get_secret_value().split(",") if key else ():
        if len(one.strip()) < 8 or not one.strip().isascii() or " " in one.strip():
            raise ValueError("a key has at least 8 ASCII characters and no space")
    return key


class Settings(BaseSettings):
    """Everything an operator may set. What a model is or can do is not set here."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(
        Path(".forecast"), description="Folder of the key, the caches and the default roots."
    )
    address: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on; `0.0.0.0` for all."
    )
    port: int = Field(
        8000,
        ge=0,
        le=65_535,
        validation_alias=variables("FORECAST_PORT", "MODEL_PORT"),
        description="Port to listen on; 0 takes a free one.",
    )
    api_key: Annotated[SecretStr | None, AfterValidator(_is_strong)] = Field(
        None,
        description="Key that callers send; several with commas. Without one, a key is made"
        " and kept in `<home>/api_key`.",
    )
    docs: bool = Field(True, description="Serve `/docs`, `/redoc` and `/openapi.json`.")
    cors_origins: Names = Field(
        (), description="Web pages that may call from a browser, such as `https://a.example`."
    )

    model_name: str = Field(
        "all",
        min_length=1,
        validation_alias=variables("FORECAST_MODEL_NAME", "MODEL_NAME"),
        description="What this process is: `all` for the gateway, a model id for the host of"
        " that model.",
    )
    models: Names = Field((), description="Models to serve; empty for all of the registry.")
    inline: Names = Field(
        (), description="Models held in the gateway's own process; `all` for one process."
    )
    hosts: Annotated[dict[str, str], AfterValidator(_is_http)] = Field(
        default_factory=dict,
        description='Hosts elsewhere: `{"moirai": "http://forecast-moirai:8006"}`.',
    )
    python: dict[str, Path] = Field(
        default_factory=dict,
        description="Interpreter of a model with an environment of its own,"
        " `FORECAST_PYTHON__<MODEL_ID>`.",
    )
    replicas: int = Field(
        0,
        ge=0,
        le=64,
        description="Processes per model; 0 chooses: one on a GPU, else up to four, one a core.",
    )
    model_replicas: dict[str, Annotated[int, Field(ge=1, le=64)]] = Field(
        default_factory=dict,
        description="Processes of one model, `FORECAST_MODEL_REPLICAS__<MODEL_ID>`.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads of the numeric libraries per process; 0 shares the cores out.",
    )
    preload: Names = Field(
        (), description="Models to load at the start; `/health/ready` waits for them."
    )
    aliases: dict[str, str] = Field(
        default_factory=dict,
        description='Other names for `POST /forecast/v1/forecast`: `{"default": "chronos"}`.',
    )
    accept_licenses: Names = Field(
        (), description="Models whose non-commercial license you accept; `all` for any."
    )

    local_roots: Paths = Field(
        (), description="Folders that `local:` sources may read, besides `<home>/models`."
    )
    hub: HubSettings = HubSettings()
    mlflow_tracking_uri: str | None = Field(
        None,
        validation_alias=variables("FORECAST_MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI"),
        description="MLflow server for `mlflow:` sources.",
    )

    store: dict[str, Any] = Field(
        default_factory=dict,
        description="How versions are kept, a variable each: `FORECAST_STORE__MAX_VERSIONS`, …;"
        " docs/storage.md lists them. They win over `store_file`.",
    )
    store_file: Path | None = Field(None, description="The same as a YAML file.")
    storage_backend: Literal["local", "hf", "mlflow"] = Field(
        "local",
        validation_alias=variables("FORECAST_STORAGE_BACKEND", "STORAGE_BACKEND"),
        description="Where versions are copied to besides the local store.",
    )
    model_repos: dict[str, str] = Field(
        default_factory=dict,
        description="Hub repository of a model's versions, `FORECAST_MODEL_REPOS__<MODEL_ID>` or"
        " `HF_<MODEL_ID>_MODEL_REPO`.",
    )

    timegpt_api_key: SecretStr | None = Field(
        None,
        validation_alias=variables("FORECAST_TIMEGPT_API_KEY", "NIXTLA_API_KEY"),
        description="Key of the service behind `timegpt`.",
    )
    timegpt_base_url: str | None = Field(
        None,
        pattern=r"^https?://",
        validation_alias=variables("FORECAST_TIMEGPT_BASE_URL", "NIXTLA_BASE_URL"),
        description="Address of that service, where it is not its makers'; the key is sent there.",
    )

    serving: ServingLimits = ServingLimits()
    data: DataPolicy = DataPolicy()
    max_body_bytes: Bytes = Field(64 * 1024**2, description="Largest request body.")
    compress_min_bytes: int = Field(
        65_536, ge=0, description="Answers from this size on are compressed; 0 never."
    )

    database_url: SecretStr | None = Field(
        None,
        description="Database of the jobs: `postgresql://…` where workers are on several"
        " machines; `<home>/jobs.db` otherwise.",
    )
    worker_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Name of a worker, kept over restarts; by default the machine's name.",
    )
    jobs: JobLimits = JobLimits()
    event_streams: int = Field(
        100, ge=1, le=100_000, description="Callers that may follow the events of jobs at once."
    )
    default_dataset: str | None = Field(
        None,
        max_length=1024,
        description="What `POST /train/<model_id>` learns from: a dataset's name, or a file under"
        " the data roots.",
    )
    default_dataset_schema: dict[str, Any] | None = Field(
        None, description="Roles of that file's columns, as the `schema` of a table."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What is logged."
    )
    log_format: Literal["plain", "json"] = Field("plain", description="One line each, or JSON.")
    access_log: bool = Field(True, description="Log one line per request.")

    @model_validator(mode="before")
    @classmethod
    def _grouped(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Gather the fields of each group: from what is given here, then from the environment."""
        values = dict(given)
        for name, group in groups().items():
            own = {field: values.pop(field) for field in group.model_fields if field in values}
            values[name] = _from_environment(group) | dict(values.get(name, {})) | own
        return values

    @property
    def cache(self) -> Path:
        """Folder of downloads; safe to delete while nothing runs."""
        return self.home / "cache"

    @property
    def local_folders(self) -> tuple[Path, ...]:
        return (*self.local_roots, self.models_folder)

    @property
    def models_folder(self) -> Path:
        """Folder that trained models are written to."""
        return self.home / "models"

    @property
    def jobs_folder(self) -> Path:
        """Folder of the jobs: their data, logs and results."""
        return self.home / "jobs"

    @property
    def jobs_database(self) -> str:
        """Address of the database that holds the jobs."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home.absolute() / 'jobs.db'}"

    @property
    def datasets_folder(self) -> Path:
        """Folder of the named datasets."""
        return self.home / "datasets"


def groups() -> dict[str, type[SettingsGroup]]:
    """List the groups of settings, each by the name of its field."""
    types = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {
        name: group
        for name, group in types.items()
        if isinstance(group, type) and issubclass(group, SettingsGroup)
    }


def fields() -> dict[str, FieldInfo]:
    """List every setting, those of groups among them."""
    grouped = groups()
    found = {name: field for name, field in Settings.model_fields.items() if name not in grouped}
    return found | {
        name: one for group in grouped.values() for name, one in group.model_fields.items()
    }


def _from_environment(group: type[SettingsGroup]) -> dict[str, Any]:
    """Read the variables of a group, by the names of its fields."""
    found = EnvSettingsSource(
        group,  # type: ignore[arg-type]  # it reads the fields and nothing else
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )()
    return {
        name: found[key]
        for name, field in group.model_fields.items()
        for key in (name, *_variables(name, field))
        if key in found
    }


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Find variables with our prefix that set nothing: a typo would go unnoticed otherwise."""
    known = {one.upper() for names in variables_of().values() for one in names}
    return sorted(
        name
        for name in names
        if name.upper().startswith(PREFIX) and name.upper().partition("__")[0] not in known
    )


def variables_of() -> dict[str, tuple[str, ...]]:
    """List the variables that set each field, the first of them winning."""
    return {name: _variables(name, field) for name, field in fields().items()}


def _variables(name: str, field: FieldInfo) -> tuple[str, ...]:
    if isinstance(field.validation_alias, AliasChoices):
        return tuple(map(str, field.validation_alias.choices))
    return (f"{PREFIX}{name.upper()}",)


def read_settings(**changes: Any) -> Settings:
    """Read the environment; what is given here and not None wins over it.

    Raises:
        ValueError: a variable has a bad value; names it, one a line.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        settings = Settings(**given)
        repos = _repos_of(os.environ) | settings.model_repos
        return settings.model_copy(update={"model_repos": repos})
    except (ValidationError, SettingsError, json.JSONDecodeError) as error:
        raise ValueError(_explained(error)) from error


def _repos_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Read `HF_<MODEL_ID>_MODEL_REPO` of each model."""
    found = (
        (re.fullmatch(r"HF_(\w+)_MODEL_REPO", name), repo) for name, repo in environment.items()
    )
    return {match[1].lower(): repo for match, repo in found if match and repo}


def _explained(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"the settings cannot be read: {error}"
    known = variables_of()
    lines = []
    for one in error.errors(include_input=False, include_url=False):
        names = [str(part) for part in one["loc"]] or [""]
        name = next((part for part in names if part in known), names[0])
        lines.append(f"{known.get(name, (name,))[0]}: {one['msg']}")
    return "; ".join(lines)
