"""The body of `POST backtest` → a plan, and the series, whole."""

from dataclasses import dataclass
from typing import Any

from forecast.core.errors import InvalidRequest
from forecast.core.lookahead import leaking
from forecast.core.validation import validated
from forecast.data.inputs import check_series_count
from forecast.data.parameters import DEFAULT_LEVELS, checked_levels
from forecast.jobs.plans import BacktestPlan
from forecast.models.base.checks import check_training_series
from forecast.models.spec import ModelSpec
from forecast.serving.initialization import checked_config
from forecast.training.backtests.windows import Window, windows_of
from forecast.training.requests.checks import (
    check_license,
    check_source,
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
from forecast.training.requests.fields import BACKTEST_SHAPES, BacktestFields
from forecast.training.requests.training import Body, ReadRequest, validation_of
from forecast.training.splitting import held_steps


@dataclass(frozen=True, slots=True)
class BacktestReader:
    """Reads requests to backtest. Thread-safe; blocks on files and URLs.

    Attributes:
        accepted_licenses: models whose non-commercial license the operator accepted; `all` for
            any.
    """

    data: DataReader
    accepted_licenses: tuple[str, ...] = ()

    def read(self, body: Body, spec: ModelSpec) -> ReadRequest[BacktestPlan]:
        """Read `POST backtest`.

        Raises:
            NotTrainable: the model has nothing to learn, and is to be fitted anew.
            LicenseNotAccepted: of its weights.
            InvalidRequest: names each field that is wrong, such as series that are too short.
            ForecastError: the data cannot be read.
        """
        if body.is_form:
            upload = read_learning_upload(body.content, body.content_type, self.data.policy)
            with errors_of_upload():
                plan = self._plan(validated(BacktestFields, upload.parameters), spec)
                data = self.data.sent(upload.file, upload.schema)
                return _finished(plan, spec, data, upload)
        document = body.document()
        if isinstance(inputs := document.get("inputs"), list):
            check_series_count(len(inputs), self.data.policy)
        request = validated(BACKTEST_SHAPES[shape_of(document)], document)
        plan = self._plan(request, spec)
        return _finished(plan, spec, self.data.read(request, plan.horizon, spec.capabilities))

    def _plan(self, request: BacktestFields, spec: ModelSpec) -> BacktestPlan:
        _check_horizon(request.horizon, spec)
        _check_refit(request, spec)
        if spec.weights is not None:
            check_license(spec, self.accepted_licenses, by_caller=request.accept_license)
        return BacktestPlan(
            model_id=spec.model_id,
            config=_config(request, spec),
            source=_source(request),
            validation=validation_of(request.validation),
            horizon=request.horizon,
            windows=request.windows,
            step=request.step,
            refit=request.refit,
            every=request.every,
            quantile_levels=_levels(request, spec),
            strict=request.strict,
            data_reference=request.data_reference,
            accept_license=request.accept_license,
        )


def _check_horizon(horizon: int, spec: ModelSpec) -> None:
    most = spec.capabilities.max_horizon
    if horizon > most:
        raise InvalidRequest.field("/horizon", f"is more than {most}, this model's limit")


def _check_refit(request: BacktestFields, spec: ModelSpec) -> None:
    if request.refit != "never":
        check_trainable(spec)
    if request.every != 1 and request.refit != "every_n":
        raise InvalidRequest.field("/every", "goes with refit: every_n")


def _config(request: BacktestFields, spec: ModelSpec) -> dict[str, Any]:
    """Check the configuration; a fit for the horizon asked, where it names no other."""
    sent = dict(request.config)
    if sent.get("distributed") is not None:
        raise InvalidRequest.field("/config/distributed", "a backtest fits in one process")
    if request.refit != "every_n":
        checked_config(spec.config, sent, "/config")
        return sent
    sent.setdefault("horizon", request.horizon)
    starting_weights(_source(request), training_config(spec, sent), spec)
    return sent


def _source(request: BacktestFields) -> str | None:
    if request.version is not None and request.source is not None:
        raise InvalidRequest.field("/version", "send either source or version, not both")
    source = request.source if request.version is None else f"store:{request.version}"
    if source is not None:
        check_source(source)
    return source


def _levels(request: BacktestFields, spec: ModelSpec) -> tuple[float, ...]:
    has_quantiles = spec.capabilities.quantiles != "none"
    if request.quantile_levels is None:
        return DEFAULT_LEVELS if has_quantiles else ()
    if request.quantile_levels and not has_quantiles:
        raise InvalidRequest.field(
            "/quantile_levels", "this model makes point forecasts only; send an empty list"
        )
    return checked_levels(request.quantile_levels, "/quantile_levels")


def _finished(
    plan: BacktestPlan, spec: ModelSpec, data: LearningData, upload: LearningUpload | None = None
) -> ReadRequest[BacktestPlan]:
    check_training_series(data.series, spec.capabilities)
    windows = windows_of(data.series, plan, min_context=spec.capabilities.min_context)
    _check_times(plan, windows)
    if plan.refit == "every_n":
        _check_first_fit(plan, spec, windows[0])
    changes = {
        "warnings": (*data.warnings, *leaking(data.series)),
        "data_reference": plan.data_reference or data.reference,
    }
    return ReadRequest(plan.model_copy(update=changes), data.series, upload)


def _check_times(plan: BacktestPlan, windows: tuple[Window, ...]) -> None:
    if plan.refit != "never" and windows[0].origin is None:
        raise InvalidRequest.field(
            "/refit",
            "the series have no times, so nothing can be cut in time; send start and freq,"
            " timestamps, or name the column of times",
        )


def _check_first_fit(plan: BacktestPlan, spec: ModelSpec, first: Window) -> None:
    """Refuse a first origin before which no series holds one step and a horizon after it."""
    config = checked_config(spec.config, plan.config, "/config")
    horizon = config.horizon or 1
    needed = horizon + 1
    lengths = [part.past.length for part in first.parts]
    left = max(
        (length - held_steps(length, plan.validation, horizon) for length in lengths), default=0
    )
    if left < needed:
        raise InvalidRequest.field(
            "/windows",
            f"before the first origin {left} steps are left to learn from, without what is held"
            f" back for validation; one step and the horizon need {needed}",
        )
