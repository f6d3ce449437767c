"""The one base class of every model: public methods check, then call one hook each."""

import json
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from forecast.core.errors import BackendUnavailable, BadData
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.checks import check_forecasts, check_series, without_unusable
from forecast.models.base.config import ModelConfig, ModelOptions
from forecast.models.base.quantiles import at_levels
from forecast.models.spec import Capabilities, ModelSpec

CONFIG_FILE = "config.json"
WEIGHTS_FOLDER = "weights"
FORMAT_VERSION = 1


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
    """

    spec: ClassVar[ModelSpec]

    def __init__(self, config: ModelConfig | None = None) -> None:
        self.config = config or self.spec.config()
        self.device = self._find_device()

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

    def close(self) -> None:  # noqa: B027 -- most families have nothing to give back
        """Give back what garbage collection does not: processes, connections."""

    # What everybody calls

    @property
    def max_context(self) -> int:
        """The most past steps used."""
        longest = self.capabilities.max_context
        return min(longest, self.config.context_length or longest)

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
        if not series.future_covariates:
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
        forecasts = self._predict([series for series, _ in prepared], task)
        check_forecasts(forecasts, batch, task.horizon)
        return [
            _finish(forecast, task, warnings)
            for forecast, (_, warnings) in zip(forecasts, prepared, strict=True)
        ]

    def _prepare(self, series: Series, task: ForecastTask) -> tuple[Series, tuple[str, ...]]:
        usable, warnings = without_unusable(series, self.capabilities)
        return usable.last(self._steps(task)), warnings

    def _steps(self, task: ForecastTask) -> int:
        """Count the most past steps used for a task."""
        return min(task.context_length or self.max_context, self.max_context)

    def save_model(self, path: Path) -> None:
        """Write the options and the weights into a folder that is new or empty."""
        (path / WEIGHTS_FOLDER).mkdir(parents=True)
        document = {
            "format_version": FORMAT_VERSION,
            "model_id": self.spec.model_id,
            "config": self.config.model_dump(mode="json"),
        }
        (path / CONFIG_FILE).write_text(json.dumps(document, indent=2) + "\n")
        self._save_model_weights(path / WEIGHTS_FOLDER)

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
        saved, weights = cls._read(path) if path is not None else ({}, None)
        model = cls(cls.spec.config(**(saved | overrides)))
        if weights is not None:
            model._load_model_weights(weights)
        return model

    @classmethod
    def _read(cls, path: Path) -> tuple[dict[str, Any], Path]:
        """Find the saved options and the folder of the weights."""
        if not (path / WEIGHTS_FOLDER).is_dir():
            return {}, path
        document = json.loads((path / CONFIG_FILE).read_text())
        if document["model_id"] != cls.spec.model_id:
            raise BadData(f"these are weights of {document['model_id']}, not {cls.spec.model_id}")
        if document["format_version"] != FORMAT_VERSION:
            raise BadData(f"weights of format {document['format_version']} cannot be read")
        return document["config"], path / WEIGHTS_FOLDER


def options_of(task: ForecastTask) -> ModelOptions:
    """Read the task's options; families narrow the type."""
    assert isinstance(task.options, ModelOptions)
    return task.options


def _layout(series: Series, task: ForecastTask) -> Hashable:
    if getattr(task.options, "ignore_covariates", False):
        return (series.num_channels, "covariates ignored", series.layout)
    return series.layout


def _finish(forecast: Forecast, task: ForecastTask, warnings: tuple[str, ...]) -> Forecast:
    answer = at_levels(forecast, task.quantile_levels)
    return replace(answer, warnings=warnings + answer.warnings)
