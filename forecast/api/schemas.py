"""What the routes answer, for the OpenAPI document and for who reads it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from forecast.core.lookahead import Provenance
from forecast.jobs.records import Job, JobProgress


class Document(BaseModel):
    """What we answer. Members may be added to it in a later version."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class FieldProblem(Document):
    pointer: str = Field(
        description="JSON pointer into the request.", examples=["/inputs/0/target"]
    )
    detail: str


class ProblemDocument(Document):
    """RFC 9457. `code` never changes once released; `error`, `message` repeat `code`, `detail`."""

    type: str = Field(examples=["urn:forecast:problem:model_not_ready"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldProblem]
    error: str
    message: str


class StatusDocument(Document):
    model_status: Literal["uninitialized", "initializing", "ready", "error"]
    details: str | None
    source: str | None
    version: str | None
    device: str | None
    loaded_at: str | None


class InitializationDocument(Document):
    message: str
    model_status: Literal["uninitialized", "initializing", "ready", "error"]
    model_info: dict[str, Any]


class ShutdownDocument(Document):
    message: str
    model_status: Literal["uninitialized", "initializing", "ready", "error"]


class RegistryEntry(Document):
    name: str
    version: str
    description: str
    module: str
    router_path: str
    service_path: str
    default_port: int
    status: Literal["active", "planned", "deprecated"]
    capabilities: dict[str, Any]
    license: dict[str, Any]
    sources: list[str]
    documentation: str


class ModelEntry(RegistryEntry):
    """An entry of the registry and the state of its model."""

    id: str
    state: dict[str, Any] = Field(description="As `GET status` answers; the reason if it cannot.")


class RegistryDocument(Document):
    models: dict[str, RegistryEntry]
    count: int


class ModelsDocument(Document):
    models: dict[str, ModelEntry]
    aliases: dict[str, str] = Field(description="Other names that `model` may take.")
    count: int


class RootDocument(Document):
    name: str
    version: str
    links: dict[str, str]


class InfoDocument(Document):
    name: str
    version: str
    features: list[str]
    limits: dict[str, int | float]
    formats: dict[str, list[str]]


class LiveDocument(Document):
    status: Literal["alive"]


class ModelHealth(Document):
    model_status: str
    details: str | None


class HealthDocument(Document):
    status: Literal["healthy", "degraded"]
    version: str
    uptime_s: float
    models: dict[str, ModelHealth]


class Check(Document):
    ok: bool
    reason: str | None


class ReadyDocument(Document):
    status: Literal["ready"]
    checks: dict[str, Check]


JobDocument = Job


class JobsDocument(Document):
    jobs: list[Job] = Field(description="Newest first.")
    count: int
    next: str | None = Field(description="Where to get the older ones; null where there are none.")


class JobResultDocument(Document):
    """What a job made: of a training its windows and versions, of a backtest its errors."""


class ProgressDocument(JobProgress):
    at: datetime


class LogDocument(Document):
    at: datetime
    line: str


class JobStateDocument(Job):
    at: datetime


class ProgressEvent(Document):
    """How far a job is; the last is the newest."""

    id: int
    event: Literal["progress"]
    data: ProgressDocument


class LogEvent(Document):
    """A line that a process of a job printed."""

    id: int
    event: Literal["log"]
    data: LogDocument


class StateEvent(Document):
    """A job that has changed; `done` is the last of its events."""

    id: int
    event: Literal["state", "done"]
    data: JobStateDocument


class JobEventDocument(RootModel[ProgressEvent | LogEvent | StateEvent]):
    """One event of a stream: its lines `id`, `event` and `data`, which is JSON."""

    root: ProgressEvent | LogEvent | StateEvent = Field(discriminator="event")


class VersionDocument(Document):
    """What a stored version is. Load it with `source`, or ask for it by `parameters.version`."""

    name: str
    kind: Literal["version", "snapshot"]
    source: str = Field(description="For `initialization`, and to start a training from.")
    created_at: datetime
    trained_at: datetime | None
    cutoff: datetime | None = Field(description="Nothing later had any part in it.")
    provenance: Provenance = Field(
        description="Until when its data went, that of its first weights included, and all foreign"
        " weights it descends from."
    )
    metrics: dict[str, float]
    sha256: str = Field(description="Of its weights.")
    size_bytes: int
    aliases: list[str]
    num_items: int = Field(description="Series that it has learnt from.")
    num_points: int | None
    data_reference: str | None
    data_sha256: str | None
    config_sha256: str | None
    git_commit: str | None
    job_id: str | None
    trained_from: str | None = Field(description="Weights that its training started from.")


class VersionsDocument(Document):
    versions: list[VersionDocument] = Field(description="Newest first.")
    count: int


class SnapshotsDocument(Document):
    snapshots: list[VersionDocument] = Field(description="Of the latest date first.")
    count: int


class FileDocument(Document):
    sha256: str
    size: int


class VersionDetailDocument(VersionDocument):
    item_ids: list[str]
    files: dict[str, FileDocument]
    verified: Literal[True] = Field(description="Every file is what was written.")


class AliasesDocument(Document):
    aliases: dict[str, str] = Field(description="Which version each stands for.")
    count: int


class AliasChangeDocument(Document):
    """A change of an alias. `version` is null where the alias was removed."""

    alias: str
    version: str | None
    previous: str | None
    how: Literal["set", "rollback", "remove"]
    at: datetime
    who: str = Field(description="The key that was used, by the first digits of its hash.")
    why: str


class AliasHistoryDocument(Document):
    alias: str
    history: list[AliasChangeDocument] = Field(description="Newest first.")
    count: int = Field(description="Of all changes there were.")
    on: datetime | None = Field(description="The moment that was asked for.")
    served: str | None = Field(description="The version at that moment; now, where none was asked.")
