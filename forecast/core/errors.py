"""Every error a caller can meet, each with a stable code and an HTTP status.

ForecastError
├── BadData               400  the data cannot be read, or holds nothing to forecast
├── Unauthorized          401  no key, or a wrong one
├── Forbidden             403  the key, path or URL is not allowed
├── NotFound              404
│   ├── UnknownModel
│   ├── UnknownSource
│   ├── FileMissing
│   └── VersionNotFound       the store has no such version or alias
├── Conflict              409
│   ├── ModelNotReady
│   ├── ModelBusy
│   └── VersionDamaged        a file of a stored version is not what was written
├── TooLarge              413
├── UnsupportedFormat     415
├── InvalidRequest        422  names the field
│   ├── BackendUnavailable
│   ├── NotTrainable          the family has nothing to learn
│   ├── TrainingFailed        the loss is not finite
│   └── LooksAhead            weights that have seen what is to be forecast
├── LicenseNotAccepted    403
├── QueueFull             429  with a pause to wait
├── BadModelOutput        502  the model broke its contract
├── SourceUnavailable     502  a hub or tracking server does not answer
├── RemoteUnavailable     502  the service behind a model does not answer
│   └── RemoteUnauthorized    it refuses the key of this deployment
├── MissingLibrary        501  a pip extra is not installed
├── StoreError            507  the store cannot be written: no space, no right
├── MemoryLimitPassed     507  the process of a job took more memory than it may
├── Draining              503
├── HostUnavailable       503
├── DatabaseUnavailable   503  the database of the jobs does not answer
└── DeadlinePassed        504

The text of an error is safe for the caller and tells what to change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong.

    Attributes:
        pointer: JSON pointer into the request (RFC 6901), such as `/inputs/0/target`.
    """

    pointer: str
    detail: str


class ForecastError(Exception):
    """The root. `code` never changes once released; `status` is the HTTP status."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s

    @property
    def detail(self) -> str:
        return str(self)


class BadData(ForecastError):
    code, status, title = "bad_data", 400, "Bad data"


class Unauthorized(ForecastError):
    code, status, title = "unauthorized", 401, "Unauthorized"


class Forbidden(ForecastError):
    code, status, title = "forbidden", 403, "Forbidden"


class LicenseNotAccepted(ForecastError):
    code, status, title = "license_not_accepted", 403, "License not accepted"


class NotFound(ForecastError):
    code, status, title = "not_found", 404, "Not found"


class UnknownModel(NotFound):
    code, title = "unknown_model", "Unknown model"


class UnknownSource(NotFound):
    code, title = "unknown_source", "Unknown source of weights"


class FileMissing(NotFound):
    code, title = "file_missing", "File missing"


class VersionNotFound(NotFound):
    code, title = "version_not_found", "Version not found"


class Conflict(ForecastError):
    code, status, title = "conflict", 409, "Conflict"


class ModelNotReady(Conflict):
    code, title = "model_not_ready", "Model not ready"


class ModelBusy(Conflict):
    code, title = "model_busy", "Model busy"


class VersionDamaged(Conflict):
    code, title = "version_damaged", "Version damaged"


class TooLarge(ForecastError):
    code, status, title = "too_large", 413, "Too large"


class UnsupportedFormat(ForecastError):
    code, status, title = "unsupported_format", 415, "Unsupported format"


class InvalidRequest(ForecastError):
    code, status, title = "invalid_request", 422, "Invalid request"

    @classmethod
    def field(cls, pointer: str, detail: str) -> "InvalidRequest":
        """Make an error about one field; the same text serves as the whole detail."""
        return cls(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


class BackendUnavailable(InvalidRequest):
    code, title = "backend_unavailable", "Backend unavailable"


class NotTrainable(InvalidRequest):
    code, title = "not_trainable", "Not trainable"


class TrainingFailed(InvalidRequest):
    code, title = "training_failed", "Training failed"


class LooksAhead(InvalidRequest):
    code, title = "looks_ahead", "Looks ahead"


class QueueFull(ForecastError):
    code, status, title = "queue_full", 429, "Queue full"


class MissingLibrary(ForecastError):
    code, status, title = "missing_library", 501, "Missing library"


class StoreError(ForecastError):
    code, status, title = "store_error", 507, "Store cannot be written"


class BadModelOutput(ForecastError):
    code, status, title = "bad_model_output", 502, "Bad model output"


class SourceUnavailable(ForecastError):
    code, status, title = "source_unavailable", 502, "Source of weights unavailable"


class RemoteUnavailable(ForecastError):
    code, status, title = "remote_unavailable", 502, "Remote service unavailable"


class RemoteUnauthorized(RemoteUnavailable):
    code, title = "remote_unauthorized", "Remote service refuses the key"


class MemoryLimitPassed(ForecastError):
    code, status, title = "memory_limit", 507, "Memory limit passed"


class Draining(ForecastError):
    code, status, title = "draining", 503, "Shutting down"


class HostUnavailable(ForecastError):
    code, status, title = "host_unavailable", 503, "Model host unavailable"


class DatabaseUnavailable(ForecastError):
    code, status, title = "database_unavailable", 503, "Database of the jobs unavailable"


class DeadlinePassed(ForecastError):
    code, status, title = "deadline_passed", 504, "Deadline passed"


def error_of(code: str, detail: str) -> ForecastError:
    """Rebuild an error from the code and detail that crossed a process boundary."""
    kinds = [ForecastError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    kind = next((kind for kind in kinds if kind.code == code), ForecastError)
    return kind(detail)
