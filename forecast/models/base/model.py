"""The one base class of every model: public methods check, then call one hook each."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from forecast.core.errors import BackendUnavailable, InvalidRequest, NotTrainable
from forecast.core.metrics import evaluate
from forecast.core.types import Forecast, ForecastTask, Intervals, Series
from forecast.models.base import saved
from forecast.models.base.checks import (
    check_forecasts,
    check_series,
    check_training_options,
    check_training_series,
    without_unusable,
)
from forecast.models.base.config import ModelConfig, ModelOptions, TrainingBackend, TrainingMode
from forecast.models.base.past_errors import UNCALIBRATED, UNKNOWN, calibrated_on_the_past
from forecast.models.base.quantiles import at_levels
from forecast.models.base.saved import (
    OnProgress,
    Progress,
    TrainingLength,
    TrainingRecord,
    TrainingResult,
)
from forecast.models.base.scaling import fill_warnings, trailing_gap
from forecast.models.spec import Capabilities, ModelSpec


class BatchKey(NamedTuple):
    """What must be equal for series to share a call: `predict` runs on `task` for all of them.

    The task's horizon may be longer than the one asked; the answer is cut to that.
    """

    task: ForecastTask
    layout: Hashable
    bucket: int


class BaseTimeSeriesModel(ABC):
    """A forecasting model, loaded and ready.

    To add a family, write `_predict`, `_save_model_weights`, `_load_model_weights` and
    `tiny`. Not thread-safe: one thread calls `predict`, as the batcher does; `check` and
    `batch_key` may be called from any thread.

    Attributes:
        kept_checkpoints: how many checkpoints of an unfinished training stay, the newest.
    """

    spec: ClassVar[ModelSpec]
    chooses_by_validation: ClassVar[bool] = False  # how long to train, or which weights to keep
    kept_checkpoints: int = 3
    _first_validation_steps: tuple[int, ...] = ()
    _length: TrainingLength | None = None

    def __init__(self, config: ModelConfig | None = None) -> None:
        self.config = config or self.spec.config()
        self.device = self._find_device()
        self.training_: TrainingRecord | None = None

    # What a family writes

    @abstractmethod
    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast checked series; quantiles at the model's own levels or at the task's.

        The series hold only usable covariates and at most `max_context` steps.
        `task.options` is an instance of the spec's `options`, never None.
        """

    @abstractmethod
    def _save_model_weights(self, path: Path) -> None:
        """Write what the family's own library writes into an empty folder."""

    @abstractmethod
    def _load_model_weights(self, path: Path) -> None:
        """Read what `_save_model_weights`, or the authors of a checkpoint, wrote."""

    @classmethod
    @abstractmethod
    def tiny(cls) -> Self:
        """Make an instance offline, with made-up weights, in under a second.

        A family with `variants` takes the name of one as an optional argument.
        """

    # What a family may refine

    @property
    def capabilities(self) -> Capabilities:
        """What these very weights can do; a family narrows the spec's by its checkpoint."""
        return self.spec.capabilities

    def _find_device(self) -> str:
        """Name the device that `config.device` asks for; torch families look for it.

        Raises:
            BackendUnavailable: it is not there, or the family cannot use it.
        """
        if self.config.device.partition(":")[0] not in ("auto", "cpu"):
            raise BackendUnavailable(
                f"{self.spec.name} runs on the CPU; ask for backend auto or cpu"
            )
        return "cpu"

    def shared_horizon(self, horizon: int) -> int:
        """Name the horizon to compute for a request of `horizon` steps.

        Requests with the same answer share a call, and each gets the first steps of it. A
        family whose answer does not depend on the horizon asked rounds up here.
        """
        return horizon

    @property
    def training_horizon(self) -> int:
        """Steps that a training window forecasts."""
        return self.config.horizon or 1

    def compared_horizon(self, series: Series) -> int:  # noqa: ARG002 -- of any series
        """Return the steps over which versions are compared on a series."""
        return self.training_horizon

    def use_cores(self, count: int) -> None:  # noqa: B027 -- most libraries cannot be told
        """Run the next calls on so many cores."""

    def close(self) -> None:  # noqa: B027 -- most have nothing to release
        """Release what garbage collection does not: processes, connections."""

    # What everybody calls

    @property
    def max_context(self) -> int:
        """The most past steps used."""
        longest = self.capabilities.max_context
        return min(longest, self.config.context_length or longest)

    @property
    def is_calibrated(self) -> bool:
        """Whether quantiles are calibrated, rather than what the network itself says."""
        return self.capabilities.quantiles != "native"

    @property
    def training_backend(self) -> TrainingBackend:
        """Whose training the family uses."""
        return self.spec.training_backend

    @property
    def supports_lora(self) -> bool:
        """Whether adapters can be trained in place of all weights."""
        return self.spec.capabilities.lora

    @property
    def is_fitted(self) -> bool:
        """Whether these weights were learned here, now or before they were saved."""
        return self.training_ is not None

    @property
    def training_history_(self) -> tuple[dict[str, float], ...]:
        """One entry a report of the training; empty before one."""
        return self.training_.history if self.training_ else ()

    @property
    def best_metrics_(self) -> dict[str, float]:
        """The best that training reached; empty before one."""
        return self.training_.metrics if self.training_ else {}

    @property
    def model_info(self) -> dict[str, Any]:
        """The model's id and the options it was loaded with."""
        return {"model_id": self.spec.model_id, **self.config.model_dump(mode="json")}

    def check(self, series: Series, task: ForecastTask) -> None:
        """Refuse what the model cannot do, before it costs anything.

        Raises:
            BadData: nothing observed, or a value that is infinite.
            InvalidRequest: a limit was passed or a covariate cannot be used.
        """
        check_series(series, task, self.capabilities, self._steps(task))

    def batch_key(self, series: Series, task: ForecastTask) -> BatchKey:
        """Name the calls that this series may share: equal keys, one call.

        Lengths share a power-of-two bucket, because padding to the longest costs 2.6 times.
        """
        steps = min(series.length, self._steps(task))
        horizon = task.horizon
        if not series.future_covariates and not self._looks_back(task):
            horizon = min(self.shared_horizon(horizon), self.capabilities.max_horizon)
        return BatchKey(
            task=replace(task, horizon=horizon),
            layout=_layout(series, task),
            bucket=max(steps - 1, 0).bit_length(),
        )

    def predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast every series of a batch; each answer is the same in any company.

        Args:
            batch: N series, of any lengths, of one layout of covariates.
            task: the horizon H and the Q quantile levels.

        Returns:
            N forecasts in the order of `batch`: mean [C, H], quantiles [C, Q, H].

        Raises:
            BadData: a series holds nothing observed, or a value that is infinite.
            InvalidRequest: the model cannot do what is asked; says which limit was passed.
            BadModelOutput: the model broke its contract.
        """
        for series in batch:
            self.check(series, task)
        if not batch:
            return []
        task = task if task.options is not None else replace(task, options=self.spec.options())
        prepared = [self._prepare(series, task) for series in batch]
        forecasts = self._predict_over_gaps([series for series, _ in prepared], task)
        check_forecasts(forecasts, batch, task.horizon)
        return [
            self._finish(forecast, task, warnings)
            for forecast, (_, warnings) in zip(forecasts, prepared, strict=True)
        ]

    def evaluate(self, test: Sequence[Series], task: ForecastTask) -> dict[str, float]:
        """Forecast the last `task.horizon` steps of each series from those before, and measure.

        Returns:
            Every metric of `core.metrics.Errors.measure`.

        Raises:
            BadData: a series is too short to hold out so many steps.
        """
        return evaluate(self.predict, test, task)

    def _predict_over_gaps(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast each series from its last observed step, and leave out what is past."""
        places: dict[int, list[int]] = {}
        for place, series in enumerate(batch):
            places.setdefault(self._gap(series, task), []).append(place)
        answers: dict[int, Forecast] = {}
        for gap, members in places.items():
            made = self._predict_after_gap([batch[place] for place in members], task, gap)
            answers.update(zip(members, made, strict=True))
        return [answers[place] for place in range(len(batch))]

    def _predict_after_gap(
        self, batch: Sequence[Series], task: ForecastTask, gap: int
    ) -> list[Forecast]:
        if gap == 0:
            return self._predict_with_intervals(batch, task)
        longer = replace(task, horizon=task.horizon + gap)
        cut = [series.until(series.length - gap, longer.horizon) for series in batch]
        for series in cut:
            self.check(series, longer)
        return [forecast.after(gap) for forecast in self._predict_with_intervals(cut, longer)]

    def _predict_with_intervals(
        self, batch: Sequence[Series], task: ForecastTask
    ) -> list[Forecast]:
        if not self._looks_back(task):
            return self._predict(batch, task)
        answers = calibrated_on_the_past(
            batch, task, self._predict, least=self.capabilities.min_context
        )
        return [
            self._uncalibrated(series, task) if UNKNOWN in answer.warnings else answer
            for series, answer in zip(batch, answers, strict=True)
        ]

    def _uncalibrated(self, series: Series, task: ForecastTask) -> Forecast:
        """Forecast a series whose past tells no errors, with the model's own quantiles."""
        [own] = self._predict([series], task)
        return replace(own, warnings=(*own.warnings, UNCALIBRATED), intervals="native")

    def _looks_back(self, task: ForecastTask) -> bool:
        """Whether the past of a series is forecast too, to calibrate quantiles on the errors."""
        asked = task.intervals == "conformal" and bool(task.quantile_levels)
        return asked and not self.is_calibrated

    def _gap(self, series: Series, task: ForecastTask) -> int:
        """Count the missing steps at the end, as far as the longest horizon reaches over them."""
        horizon = task.horizon if series.future_covariates else self.shared_horizon(task.horizon)
        return min(trailing_gap(series.target), max(self.capabilities.max_horizon - horizon, 0))

    def _prepare(self, series: Series, task: ForecastTask) -> tuple[Series, tuple[str, ...]]:
        usable, warnings = without_unusable(series, self.capabilities)
        used = usable.last(self._steps(task))
        if not self.capabilities.missing_values:
            warnings += fill_warnings(used.target)
        return used, warnings

    def _finish(
        self, forecast: Forecast, task: ForecastTask, warnings: tuple[str, ...]
    ) -> Forecast:
        answer = at_levels(forecast, task.quantile_levels)
        usual: Intervals = "native" if self.capabilities.quantiles == "native" else "conformal"
        return replace(
            answer,
            warnings=warnings + answer.warnings,
            intervals=(answer.intervals or usual) if answer.quantile_levels else None,
        )

    def _steps(self, task: ForecastTask) -> int:
        """Count the most past steps used for a task."""
        return min(task.context_length or self.max_context, self.max_context)

    def save_model(self, path: Path) -> None:
        """Write options, weights and what is known of the training into a new or empty folder."""
        weights = saved.write(path, self.spec.model_id, self.config, self.training_)
        self._save_model_weights(weights)

    @classmethod
    def load_model(cls, path: Path | None, **overrides: Any) -> Self:
        """Rebuild a model from a folder.

        Args:
            path: saved by `save_model` (then its options are used), or a plain checkpoint as
                its authors publish it (then the defaults are); None for a model without weights.
            overrides: options that win over both, such as `device`.

        Raises:
            BadData: the folder holds another model, or a format this version cannot read.
        """
        found = saved.read(path, cls.spec.model_id) if path is not None else saved.Saved()
        kept = {
            name: value
            for name, value in found.config.items()
            if name not in cls.spec.config.operator_fields
        }
        model = cls(cls.spec.config(**(kept | overrides)))
        if found.weights is not None:
            model._load_model_weights(found.weights)
        model.training_ = found.training
        return model

    # Training

    def fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None = None,
        *,
        first_validation_steps: Sequence[int] = (),
        on_progress: OnProgress | None = None,
        checkpoints: Path | None = None,
        data_reference: str | None = None,
    ) -> Self:
        """Learn from series, by `config.training_mode`; what was learned stays in this object.

        If that fails, or is interrupted, the model is what it was before.

        Args:
            train: N series of any lengths, of one layout of covariates.
            validation: decides when to stop and which weights are the best, where a family
                can. Series that share steps with `train` need `first_validation_steps`.
            first_validation_steps: the step of each validation series, counted from 0, at which
                validation begins: no validation window forecasts a step before it, but windows
                read their context there. None given: the windows of whole series count.
            on_progress: hears how it goes; answering False ends the training in order.
            checkpoints: folder for the state of an unfinished training, resumed from there.
            data_reference: where the data came from, for the record.

        Raises:
            NotTrainable: the family, or this checkpoint of it, has nothing to learn.
            InvalidRequest: the family cannot be trained as the configuration asks.
            BadData: too little data, or a value that is infinite.
            TrainingFailed: the loss is not finite.
        """
        held_back = tuple(validation or ())
        self._check_training(train, held_back)
        if first_validation_steps and len(first_validation_steps) != len(held_back):
            raise InvalidRequest("name the first validation step of each validation series")
        started_at = datetime.now(UTC)
        with _unchanged_on_failure(self):
            self._first_validation_steps = tuple(first_validation_steps)
            result = self._fit(train, held_back, on_progress or ignore_progress, checkpoints)
        record = self._record(result, [*train, *held_back], started_at, data_reference)
        shared = sum(  # contexts of validation windows, which are in `train` too
            one.num_channels * first
            for one, first in zip(held_back, first_validation_steps, strict=False)
        )
        self.training_ = record.model_copy(update={"num_points": record.num_points - shared})
        return self

    def refit(
        self,
        series: Sequence[Series],
        chosen: TrainingRecord,
        *,
        on_progress: OnProgress | None = None,
        checkpoints: Path | None = None,
        data_reference: str | None = None,
    ) -> Self:
        """Learn from whole series for as many steps as validation chose in an earlier fit.

        The model must be what the earlier fit started from. The metrics and the history stay
        those of the earlier fit: these weights were never validated.

        Args:
            chosen: the record of the earlier fit.

        Raises:
            ForecastError: as `fit` does.
        """
        self._check_training(series, ())
        started_at = datetime.now(UTC)
        with _unchanged_on_failure(self):
            self._length = chosen.length
            result = self._fit(series, (), on_progress or ignore_progress, checkpoints)
        record = self._record(result, series, started_at, data_reference)
        kept = {"metrics": chosen.metrics, "history": chosen.history, "refit": True}
        self.training_ = record.model_copy(update=kept)
        return self

    def _record(
        self,
        result: TrainingResult,
        series: Sequence[Series],
        started_at: datetime,
        data_reference: str | None,
    ) -> TrainingRecord:
        return TrainingRecord.of(
            result,
            series,
            started_at=started_at,
            mode=getattr(self.config, "training_mode", TrainingMode.FROM_SCRATCH),
            seed=getattr(self.config, "seed", None),
            data_reference=data_reference,
        )

    def _check_training(self, train: Sequence[Series], validation: Sequence[Series]) -> None:
        able = self.spec.capabilities
        if not (able.trainable or able.fine_tunable):
            raise NotTrainable(f"{self.spec.name} has nothing to learn; it forecasts as it is")
        check_training_options(self.config, able, distributed=self.spec.distributed)
        check_training_series([*train, *validation], able)

    def _fit(
        self,
        train: Sequence[Series],  # noqa: ARG002 -- for those who write it
        validation: Sequence[Series] | None,  # noqa: ARG002
        on_progress: OnProgress,  # noqa: ARG002
        checkpoints: Path | None,  # noqa: ARG002
    ) -> TrainingResult:
        """Learn; a family that can be trained writes this."""
        raise NotTrainable(f"{self.spec.name} has nothing to learn; it forecasts as it is")


@contextmanager
def _unchanged_on_failure(model: BaseTimeSeriesModel) -> Iterator[None]:
    """Give a model the attributes back that it had, unless the block succeeds."""
    before = dict(vars(model))
    try:
        yield
    except BaseException:
        vars(model).clear()
        vars(model).update(before)
        raise


def ignore_progress(progress: Progress) -> None:
    """Go on, whatever is reported."""


def options_of(task: ForecastTask) -> ModelOptions:
    """Read the task's options; families narrow the type."""
    assert isinstance(task.options, ModelOptions)
    return task.options


def _layout(series: Series, task: ForecastTask) -> Hashable:
    if getattr(task.options, "ignore_covariates", False):
        return (series.num_channels, "covariates ignored", series.layout)
    return series.layout
