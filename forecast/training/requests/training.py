"""The body of `POST training` and `POST /train/<model_id>` → a plan, and the series, whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from forecast.core.errors import InvalidRequest, UnsupportedFormat
from forecast.core.lookahead import leaking
from forecast.core.types import Series
from forecast.core.validation import read_json, validated, validated_options
from forecast.data.bodies import is_json
from forecast.data.inputs import check_series_count
from forecast.jobs.plans import Snapshots, TrainingPlan, Validation
from forecast.models.base.config import LoraConfig, ModelConfig
from forecast.models.spec import ModelSpec
from forecast.training.requests.checks import (
    check_learnable,
    check_license,
    check_start,
    check_trainable,
    starting_weights,
    training_config,
)
from forecast.training.requests.data import (
    DataReader,
    LearningData,
    LearningUpload,
    errors_of_upload,
    read_learning_upload,
    shape_of,
)
from forecast.training.requests.defaults import DefaultDataset
from forecast.training.requests.fields import (
    TRAINING_SHAPES,
    SnapshotsFields,
    TrainingFields,
    ValidationFields,
)

Asked = TypeVar("Asked")

_FORM = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Body:
    """What a caller sent, as bytes."""

    content: bytes
    content_type: str = "application/json"

    @property
    def is_form(self) -> bool:
        return self.content_type.partition(";")[0].strip().lower() == _FORM

    def document(self) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            UnsupportedFormat: it is not called JSON.
            BadData: it is no JSON.
            InvalidRequest: it is no object.
        """
        if not is_json(self.content_type):
            raise UnsupportedFormat(
                "send application/json, or a file with its schema as multipart/form-data"
            )
        document = read_json(self.content)
        if not isinstance(document, dict):
            raise InvalidRequest.field("", "the body must be a JSON object")
        return document


@dataclass(frozen=True, slots=True, eq=False)
class ReadRequest(Generic[Asked]):
    """What a job is to do, with the data it does it on.

    Attributes:
        series: whole; nothing is cut or split yet.
        kept: a file, the roles of its columns and the name to keep it under, where asked.
    """

    plan: Asked
    series: Sequence[Series]
    kept: LearningUpload | None = None


@dataclass(frozen=True, slots=True)
class TrainingReader:
    """Reads requests to train. Thread-safe; blocks on files and URLs.

    Attributes:
        accepted_licenses: models whose non-commercial license the operator accepted; `all` for
            any.
        default_dataset: what `/train/<model_id>` learns from; None where none is set.
    """

    data: DataReader
    accepted_licenses: tuple[str, ...] = ()
    default_dataset: DefaultDataset | None = None

    def read(
        self, body: Body, spec: ModelSpec, *, skip_snapshots: bool = False
    ) -> ReadRequest[TrainingPlan]:
        """Read `POST training`.

        Raises:
            NotTrainable: the model has nothing to learn.
            LicenseNotAccepted: of the weights that it starts from.
            InvalidRequest: names each field that is wrong.
            ForecastError: the data cannot be read, or nothing can be learned from it.
        """
        check_trainable(spec)
        if body.is_form:
            upload = read_learning_upload(body.content, body.content_type, self.data.policy)
            with errors_of_upload():
                fields = validated(TrainingFields, upload.parameters)
                asked = self._asked(fields, spec, None if skip_snapshots else _snapshots(fields))
                return asked.finished(self.data.sent(upload.file, upload.schema), upload)
        document = body.document()
        if isinstance(inputs := document.get("inputs"), list):
            check_series_count(len(inputs), self.data.policy)
        request = validated(TRAINING_SHAPES[shape_of(document)], document)
        asked = self._asked(request, spec, None if skip_snapshots else _snapshots(request))
        horizon = asked.config.horizon or 1
        return asked.finished(self.data.read(request, horizon, spec.capabilities))

    def read_short(
        self, body: Body, spec: ModelSpec, *, skip_snapshots: bool = False
    ) -> ReadRequest[TrainingPlan]:
        """Read `POST /train/<model_id>`: the default data, and each past year by default.

        Raises:
            ForecastError: as `read` does.
        """
        check_trainable(spec)
        document = body.document() if body.content.strip() else {}
        request = validated(TrainingFields, document)
        snapshots = _snapshots(request, default=Snapshots())
        asked = self._asked(request, spec, None if skip_snapshots else snapshots, strict=False)
        if self.default_dataset is None:
            raise InvalidRequest(
                "this gateway has no default data to learn from: put a dataset at"
                " /forecast/v1/datasets/<name> and set FORECAST_DEFAULT_DATASET=<name>, or send"
                f" data to /forecast/v1/{spec.model_id}/training"
            )
        return asked.finished(self.default_dataset.read(self.data))

    def _asked(
        self,
        request: TrainingFields,
        spec: ModelSpec,
        snapshots: Snapshots | None,
        *,
        strict: bool = True,
    ) -> "_Asked":
        sent = _config(request)
        processes = request.distributed.processes if request.distributed else 1
        config = training_config(spec, sent, processes)
        source = starting_weights(request.source, config, spec)
        if source is not None:
            check_license(spec, self.accepted_licenses, by_caller=request.accept_license)
        plan = TrainingPlan(
            model_id=spec.model_id,
            config=sent,
            processes=processes,
            source=source,
            validation=validation_of(
                request.validation, request.validation_horizons, request.validation_share
            ),
            strict=strict if request.strict is None else request.strict,
            cutoff=request.cutoff,
            snapshots=snapshots,
            refit=request.promote != "never" if request.refit is None else request.refit,
            promote=request.promote,
            margin=request.promotion_margin,
            data_reference=request.data_reference,
            accept_license=request.accept_license,
        )
        return _Asked(plan, config, spec, by_older_name=request.validation_horizons is not None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A plan that has not met its data.

    Attributes:
        by_older_name: what is held back was sent as `validation_horizons`.
    """

    plan: TrainingPlan
    config: ModelConfig
    spec: ModelSpec
    by_older_name: bool = False

    def finished(
        self, data: LearningData, upload: LearningUpload | None = None
    ) -> ReadRequest[TrainingPlan]:
        years = self._years(data)
        warnings = [*data.warnings, *leaking(data.series), *self._warnings(years)]
        changes = {
            "warnings": tuple(warnings),
            "data_reference": self.plan.data_reference or data.reference,
        }
        return ReadRequest(self.plan.model_copy(update=changes), data.series, upload)

    def _years(self, data: LearningData) -> tuple[int, ...]:
        try:
            return check_learnable(data.series, self.plan, self.config, self.spec)
        except InvalidRequest as error:
            first = error.errors[0] if error.errors else None
            if not (self.by_older_name and first and first.pointer == "/validation/horizons"):
                raise
            raise InvalidRequest.field("/validation_horizons", first.detail) from error

    def _warnings(self, years: Sequence[int]) -> list[str]:
        plan = self.plan
        warnings = []
        if plan.snapshots is not None and not years:
            warnings.append(
                f"no past year comes after {plan.snapshots.bootstrap_years} years of data, so there"
                " is none to train a snapshot of"
            )
        return [*warnings, *check_start(plan, self.spec, years)]


def validation_of(
    fields: ValidationFields | None, horizons: int | None = None, share: float | None = None
) -> Validation:
    """Read what is held back, by its name of today or an older one.

    Raises:
        InvalidRequest: it is named in both ways.
    """
    older = {"horizons": horizons, "share": share}
    older = {name: value for name, value in older.items() if value is not None}
    if fields is None:
        return Validation.model_validate(older)
    if older:
        raise InvalidRequest.field(
            f"/validation_{next(iter(older))}", "is the older name of what validation says; drop it"
        )
    return Validation.model_validate(fields.model_dump())


def _snapshots(request: TrainingFields, default: Snapshots | None = None) -> Snapshots | None:
    if "snapshots" not in request.model_fields_set:
        return default
    fields: SnapshotsFields | None = request.snapshots
    if fields is None or not fields.yearly:
        return None
    return Snapshots.model_validate(fields.model_dump())


def _config(request: TrainingFields) -> dict[str, Any]:
    """Put what has a field of its own into the configuration.

    Raises:
        InvalidRequest: it is in both, and differs.
    """
    sent = dict(request.config)
    for field_name, (name, value) in _own_fields(request).items():
        if name in sent and sent[name] != value:
            raise InvalidRequest.field(
                f"/{field_name}", f"config.{name} says something else; send one of them"
            )
        sent[name] = value
    return sent


def _own_fields(request: TrainingFields) -> Mapping[str, tuple[str, Any]]:
    """List the fields that stand for a part of the configuration: name → (its name, value)."""
    found: dict[str, tuple[str, Any]] = {}
    if request.mode is not None:
        found["mode"] = ("training_mode", request.mode)
    if request.lora is not None:
        validated_options(LoraConfig, request.lora, "/lora")
        found["lora"] = ("lora", request.lora)
    if request.distributed is not None:
        shared = request.distributed.model_dump(exclude={"processes"})
        found["distributed"] = ("distributed", shared)
    return found
