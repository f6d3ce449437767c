"""The body of a request to train or to backtest → a plan, and the series, whole."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from forecast.core.errors import InvalidRequest, UnsupportedFormat
from forecast.core.lookahead import leaking
from forecast.core.types import Series
from forecast.core.validation import read_json, validated
from forecast.data.bodies import is_json
from forecast.data.files import read_frame, read_source
from forecast.data.inputs import SeriesBatch, check_series_count
from forecast.data.named_file import NamedFileParameters, NamedFileRequest
from forecast.data.named_series import series_of_file
from forecast.data.named_series import text_columns as text_columns_of_roles
from forecast.data.policy import DataPolicy
from forecast.data.text_files import frame_of_document
from forecast.jobs.plans import JobPlan
from forecast.models.spec import Capabilities, ModelSpec
from forecast.training.checks import (
    check_backtest_data,
    check_trainable,
    check_training_data,
    resolve_backtest,
    resolve_training,
)
from forecast.training.data import (
    JobData,
    JobUpload,
    errors_of_upload,
    read_job_upload,
    series_of_inputs,
    series_of_table,
    text_columns,
)
from forecast.training.datasets import Datasets
from forecast.training.plan import BacktestPlan, FitPlan, TrainingPlan

AnyPlan = TypeVar("AnyPlan", bound=FitPlan)


class TrainingRequest(JobData, TrainingPlan):
    """Train on the data that is sent or named here."""


class BacktestRequest(JobData, BacktestPlan):
    """Backtest on the data that is sent or named here."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request."""

    content: bytes
    content_type: str = "application/json"

    @property
    def is_form(self) -> bool:
        return self.content_type.partition(";")[0].strip().lower() == "multipart/form-data"

    def document(self) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            UnsupportedFormat: the body is not declared as JSON.
            BadData: it is not JSON.
            InvalidRequest: it is not an object.
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
class JobRequest(Generic[AnyPlan]):
    """What a job is to do, and its data.

    Attributes:
        plan: with every default resolved that depends on the model or the data.
        series: whole; nothing is cut or split yet.
        upload: the file that came with the request.
    """

    job: JobPlan
    plan: AnyPlan
    series: Sequence[Series]
    upload: JobUpload | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LoadedData:
    """Series, whole.

    Attributes:
        reference: names where they came from; None for what was sent.
    """

    batch: SeriesBatch
    reference: str | None = None

    @property
    def series(self) -> tuple[Series, ...]:
        return self.batch.series


@dataclass(frozen=True, slots=True)
class JobReader:
    """Reads requests for jobs. Thread-safe; blocks on files and URLs.

    Attributes:
        accepted_licenses: models whose non-commercial license the operator accepted; `all` for
            any.
        default_data: what `/train/<model_id>` learns from; None where none is set.
    """

    policy: DataPolicy
    datasets: Datasets
    accepted_licenses: tuple[str, ...] = ()
    default_data: JobData | None = None

    def read_training(
        self, body: Body, spec: ModelSpec, *, skip_snapshots: bool = False
    ) -> JobRequest[TrainingPlan]:
        """Read `POST training`.

        Raises:
            NotTrainable: the model cannot be trained.
            LicenseNotAccepted: of the weights that it starts from.
            InvalidRequest: names each field that is wrong.
            ForecastError: the data cannot be read, or nothing can be learned from it.
        """
        check_trainable(spec)
        upload = self._upload(body)
        with errors_of_upload() if upload else nullcontext():
            sent, data = self._read(body, upload, TrainingPlan, TrainingRequest)
            return self._training(sent, data, spec, skip_snapshots=skip_snapshots)

    def read_default_training(
        self, body: Body, spec: ModelSpec, *, skip_snapshots: bool = False
    ) -> JobRequest[TrainingPlan]:
        """Read `POST /train/<model_id>`: the default data, and each past year by default.

        Raises:
            ForecastError: as `read_training` does.
        """
        check_trainable(spec)
        document = body.document() if body.content.strip() else {}
        sent = validated(TrainingPlan, {"snapshots": True, "strict": False} | document)
        if self.default_data is None:
            raise InvalidRequest(
                "this gateway has no default data to learn from: put a dataset at"
                " /forecast/v1/datasets/<name> and set FORECAST_DEFAULT_DATASET=<name>, or send"
                f" data to /forecast/v1/{spec.model_id}/training"
            )
        return self._training(sent, self.default_data, spec, skip_snapshots=skip_snapshots)

    def read_backtest(self, body: Body, spec: ModelSpec) -> JobRequest[BacktestPlan]:
        """Read `POST backtest`.

        Raises:
            NotTrainable: the model is to be fitted again, and cannot be trained.
            LicenseNotAccepted: of its weights.
            InvalidRequest: names each field that is wrong, such as series that are too short.
            ForecastError: the data cannot be read.
        """
        upload = self._upload(body)
        with errors_of_upload() if upload else nullcontext():
            sent, data = self._read(body, upload, BacktestPlan, BacktestRequest)
            plan = resolve_backtest(sent, spec, self.accepted_licenses)
            loaded = self._load(data, plan.horizon, spec.capabilities)
            check_backtest_data(plan, spec, loaded.series)
            return _finished(plan, spec, loaded, data)

    def _training(
        self,
        sent: TrainingPlan,
        data: JobData | JobUpload,
        spec: ModelSpec,
        *,
        skip_snapshots: bool,
    ) -> JobRequest[TrainingPlan]:
        if skip_snapshots:
            sent = sent.model_copy(update={"snapshots": None})
        plan, config = resolve_training(sent, spec, self.accepted_licenses)
        loaded = self._load(data, config.horizon or 1, spec.capabilities)
        warnings = check_training_data(plan, config, spec, loaded.series)
        return _finished(plan, spec, loaded, data, warnings)

    def _upload(self, body: Body) -> JobUpload | None:
        if not body.is_form:
            return None
        return read_job_upload(body.content, body.content_type, self.policy)

    def _read(
        self, body: Body, upload: JobUpload | None, plan: type[AnyPlan], request: type[JobData]
    ) -> tuple[AnyPlan, JobData | JobUpload]:
        """Read the plan and the data of a body."""
        if upload is not None:
            return validated(plan, upload.parameters), upload
        document = body.document()
        if isinstance(inputs := document.get("inputs"), list):
            check_series_count(len(inputs), self.policy)
        sent = validated(request, document)
        sent.check()
        names = plan.model_fields.keys() & sent.model_fields_set
        return plan.model_validate({name: getattr(sent, name) for name in names}), sent

    def _load(self, data: JobData | JobUpload, horizon: int, able: Capabilities) -> LoadedData:
        """Read the series, whole.

        Args:
            horizon: number of future values of inline known covariates that have any.
        """
        if isinstance(data, JobUpload):
            file, columns = data.file, text_columns(data.schema)
            frame = read_frame(file.body, file.format, self.policy, columns)
            return LoadedData(series_of_table(frame, data.schema, self.policy))
        schema, source = data.schema_, data.data_source_url_or_path
        if data.inputs is not None:
            return LoadedData(series_of_inputs(data.inputs, horizon, self.policy))
        if data.dataset is not None:
            frame, roles, dataset = self.datasets.frame(data.dataset, schema)
            return LoadedData(series_of_table(frame, roles, self.policy), dataset.reference)
        if source is None:
            assert data.data is not None
            assert schema is not None
            frame = frame_of_document(data.data, self.policy, schema.names)
            return LoadedData(series_of_table(frame, schema, self.policy))
        if schema is None:
            return self._named_file(data, able)
        frame = read_source(source, self.policy, text_columns(schema))
        return LoadedData(series_of_table(frame, schema, self.policy), _reference(source))

    def _named_file(self, data: JobData, able: Capabilities) -> LoadedData:
        assert data.data_source_url_or_path is not None
        assert data.data_definition is not None
        named = NamedFileRequest(
            data_source_url_or_path=data.data_source_url_or_path,
            data_definition=data.data_definition,
            known_future=data.known_future,
            label=data.label,
            parameters=NamedFileParameters(use_covariates=True),
        )
        source = named.data_source_url_or_path
        frame = read_source(source, self.policy, text_columns_of_roles(named))
        series, _, warnings = series_of_file(frame, named, 0, self.policy)
        if not able.future_covariates:  # then known covariates are used as far as they are past
            series = tuple(replace(one, future_covariates={}) for one in series)
        return LoadedData(SeriesBatch(series, warnings), _reference(source))


def _reference(source: str) -> str:
    """Name a file for the record; what follows `?` in a URL may be a secret."""
    return source.partition("?")[0][:1024]


def _finished(
    plan: AnyPlan,
    spec: ModelSpec,
    loaded: LoadedData,
    data: JobData | JobUpload,
    warnings: Sequence[str] = (),
) -> JobRequest[AnyPlan]:
    reference = plan.data_reference or loaded.reference
    plan = plan.model_copy(update={"data_reference": reference})
    series = loaded.series
    job = JobPlan(
        kind=plan.kind,
        model_id=spec.model_id,
        work=plan.model_dump(mode="json"),
        warnings=(*loaded.batch.warnings, *leaking(series), *warnings),
    )
    return JobRequest(job, plan, series, data if isinstance(data, JobUpload) else None)
