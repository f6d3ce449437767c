"""`python -m forecast.training.worker_main <folder>`: one process that carries out one order.

It answers with JSON objects, one a line: `{"progress": …}`, and in the end `{"done": …}`,
`{"stopped": true}` or `{"error": …}`. Standard input brings one line first: the configuration
that only the operator sets, which is never in a file. A later line `{"stop": true}` asks the
process to end in order. It also ends when standard input closes, for then its parent has died.
"""

import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from forecast.core.errors import ForecastError
from forecast.core.state import Comparison
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.jobs.records import JobError
from forecast.jobs.series_files import forecasts_of, read_series, write_forecasts
from forecast.models import MODEL_REGISTRY
from forecast.models.base.conformal import CALIBRATION_FILE
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.saved import WEIGHTS_FOLDER, Progress
from forecast.training.child import STOP
from forecast.training.plan import SERIES, FitOrder, ForecastOrder, read_order
from forecast.training.splitting import Evaluation, Split, hold_out_newer, split

AT_ONCE = 256  # series in one call of a model
_LOOKS_EVERY_S = 1.0
_VALIDATED = "validated"
_REFIT = "refit"
_LEVELS = tuple(decile / 10 for decile in range(1, 10))  # of the WQL that versions are compared by


def main() -> None:
    """Carry out the order; the last answer and the exit status tell how it went."""
    folder, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))  # as torchrun says
    parent = received(folder, rank)
    answer = _answer(folder, parent)
    if parent.is_first or "error" in answer:
        parent.send(answer)
    os._exit("error" in answer)  # threads that a library left must not keep the process


def _answer(folder: Path, parent: "Parent") -> dict[str, Any]:
    try:
        order = read_order(folder)
        done = fit(order, parent) if isinstance(order, FitOrder) else forecast(order, parent)
    except ForecastError as error:
        return {"error": JobError.of(error).model_dump()}
    except Exception:  # noqa: BLE001 -- the process boundary
        traceback.print_exc()
        return {"error": {"code": ForecastError.code, "detail": "internal error; see the job log"}}
    return {"stopped": True} if parent.stopping.is_set() else {"done": done}


# The parent


@dataclass(frozen=True, slots=True, eq=False)
class Parent:
    """The connection of this process to its parent.

    Attributes:
        folder: of the order, and of what belongs to it.
        operator_config: fields of the model's configuration that only the operator sets.
        rank: of this process among those that share the order; only rank 0 reports progress and
            writes results.
    """

    folder: Path
    operator_config: Mapping[str, Any]
    answers: TextIO
    rank: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def report(self, progress: Progress) -> bool:
        """Pass a report on; False when the work is to end."""
        if self.is_first:
            self.send({"progress": progress.model_dump(mode="json")})
        return not self.stopping.is_set()

    def send(self, document: Mapping[str, Any]) -> None:
        """Write one answer, whole: processes that share an order share the pipe."""
        self.answers.write(json.dumps(document) + "\n")
        self.answers.flush()


def received(folder: Path, rank: int) -> Parent:
    """Connect to the parent, and listen to it in a thread."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print goes to the log
    operator_config = json.loads(sys.stdin.readline()) if rank == 0 else {}
    parent = Parent(folder, operator_config, answers, rank)
    listening = _listen if rank == 0 else _end_with_launcher
    threading.Thread(target=listening, args=(parent,), daemon=True).start()
    return parent


def _listen(parent: Parent) -> None:
    while line := sys.stdin.readline():
        if line.strip() and json.loads(line) == STOP:
            parent.stopping.set()
    os._exit(1)


def _end_with_launcher(parent: Parent) -> None:  # noqa: ARG001 -- the signature of `_listen`
    launcher = os.getppid()
    while os.getppid() == launcher:
        time.sleep(_LOOKS_EVERY_S)
    os._exit(1)


# Training


def fit(order: FitOrder, parent: Parent) -> dict[str, Any]:
    """Load, learn, compare, learn again on all series, and save; a stopped fit saves nothing.

    Returns:
        The best metrics, the comparison with a rival, and the items without a validation split.

    Raises:
        ForecastError: the model cannot be loaded, or cannot learn from the series.
    """
    series = read_series(parent.folder / SERIES)
    model = _start(order, parent)
    evaluation, parts = _parts(series, order, model)
    model.fit(
        parts.train,
        parts.validation or None,
        first_validation_steps=parts.first_validation_steps,
        on_progress=parent.report,
        checkpoints=_checkpoints(order, model),
        data_reference=order.plan.data_reference,
    )
    if parent.stopping.is_set() and not _is_shared(model):  # others would wait for this one
        return {}
    comparison = _compared(model, evaluation, order, parent) if parent.is_first else None
    if order.refit and (parts.validation or evaluation.held_out):
        model = _refitted(model, series, order, parent)
    if parent.is_first and not parent.stopping.is_set():
        model.save_model(order.target)
        _carry_calibration(parent.folder / _VALIDATED, order.target)
    return {
        "metrics": model.best_metrics_,
        "comparison": comparison and comparison.model_dump(mode="json"),
        "unvalidated": parts.unvalidated,
    }


def _load(
    model_id: str, weights: Path | None, config: Mapping[str, Any], parent: Parent
) -> BaseTimeSeriesModel:
    model_class = MODEL_REGISTRY[model_id].model_class()
    return model_class.load_model(weights, **config, **parent.operator_config)


def _start(order: FitOrder, parent: Parent) -> BaseTimeSeriesModel:
    config = dict(order.plan.config)
    if "distributed" in MODEL_REGISTRY[order.model_id].config.model_fields:
        config.setdefault("distributed", None)  # not as the fit was that made the weights
    model = _load(order.model_id, order.weights, config, parent)
    model.kept_checkpoints = order.kept_checkpoints
    return model


def _parts(
    series: list[Series], order: FitOrder, model: BaseTimeSeriesModel
) -> tuple[Evaluation, Split]:
    """Cut series into training, validation and evaluation parts."""
    evaluation = Evaluation(tuple(series))
    if order.rival is not None:
        evaluation = hold_out_newer(series, order.rival.seen, model.compared_horizon(series[0]))
    if not model.chooses_by_validation:
        return evaluation, Split(evaluation.before)
    return evaluation, split(evaluation.before, order.plan.validation, model.training_horizon)


def _is_shared(model: BaseTimeSeriesModel) -> bool:
    return getattr(model.config, "distributed", None) is not None


def _checkpoints(order: FitOrder, model: BaseTimeSeriesModel) -> Path | None:
    distributed = getattr(model.config, "distributed", None)
    keeps_none = distributed is not None and distributed.strategy == "deepspeed"
    return None if keeps_none else order.checkpoints


def _compared(
    model: BaseTimeSeriesModel, evaluation: Evaluation, order: FitOrder, parent: Parent
) -> Comparison | None:
    """Measure the new model and its rival on steps that neither has seen.

    A rival that cannot be loaded, or cannot forecast so far, does not fail the fit.
    """
    rival, horizon = order.rival, evaluation.horizon
    if rival is None or not evaluation.held_out:
        return None
    parent.report(Progress(phase="evaluating", step=0))
    found = {"version": rival.name, "seen": rival.seen, "horizon": horizon}
    levels = () if model.capabilities.quantiles == "none" else _LEVELS
    task = ForecastTask(horizon=horizon, quantile_levels=levels)
    try:
        other = _load(order.model_id, rival.weights, {"device": model.config.device}, parent)
        theirs = other.evaluate(evaluation.held_out, task)
        other.close()
    except ForecastError as error:
        return Comparison(**found, origins=0, failed=error.detail)
    return Comparison(
        **found,
        origins=len(evaluation.held_out),
        candidate=model.evaluate(evaluation.held_out, task),
        current=theirs,
    )


def _refitted(
    validated: BaseTimeSeriesModel, series: list[Series], order: FitOrder, parent: Parent
) -> BaseTimeSeriesModel:
    """Learn all series from the same start for as long; calibration stays that of validation."""
    record = validated.training_
    assert record is not None
    if parent.is_first:
        validated.save_model(parent.folder / _VALIDATED)
    validated.close()
    model = _start(order, parent)
    checkpoints = _checkpoints(order, model)

    def report(progress: Progress) -> bool:
        phase = "refitting" if progress.phase == "training" else progress.phase
        return parent.report(progress.model_copy(update={"phase": phase}))

    return model.refit(
        series,
        record,
        on_progress=report,
        checkpoints=checkpoints and checkpoints / _REFIT,
        data_reference=order.plan.data_reference,
    )


def _carry_calibration(validated: Path, target: Path) -> None:
    """Keep the errors of the validated fit: the refit has seen the data they are measured on."""
    file = validated / WEIGHTS_FOLDER / CALIBRATION_FILE
    if file.exists():
        shutil.copyfile(file, target / WEIGHTS_FOLDER / CALIBRATION_FILE)


# Forecasting


def forecast(order: ForecastOrder, parent: Parent) -> dict[str, Any]:
    """Forecast the files of series in their order; ends early when the job stops.

    Raises:
        ForecastError: the model cannot be loaded, or cannot forecast a series.
    """
    model = _load(order.model_id, order.weights, order.config, parent)
    task = ForecastTask(horizon=order.horizon, quantile_levels=order.quantile_levels)
    for number, file in enumerate(order.files, start=1):
        forecasts = forecast_all(model, read_series(parent.folder / file), task)
        write_forecasts(parent.folder / forecasts_of(file), forecasts)
        if not parent.report(Progress(phase="forecasting", step=number, of=len(order.files))):
            break
    return {}


def forecast_all(
    model: BaseTimeSeriesModel, series: Sequence[Series], task: ForecastTask
) -> list[Forecast]:
    """Forecast series of any layouts and lengths, in as few calls of the model as they allow."""
    task = replace(task, options=model.spec.options())
    answers: dict[int, Forecast] = {}
    for shared, members in _calls(model, series, task):
        forecasts = model.predict([series[index] for index in members], shared)
        for index, one in zip(members, forecasts, strict=True):
            answers[index] = one.first(task.horizon)
    return [answers[index] for index in range(len(series))]


def _calls(
    model: BaseTimeSeriesModel, series: Sequence[Series], task: ForecastTask
) -> Iterator[tuple[ForecastTask, list[int]]]:
    groups: dict[Any, list[int]] = {}
    for index, one in enumerate(series):
        model.check(one, task)
        groups.setdefault(model.batch_key(one, task), []).append(index)
    for key, members in groups.items():
        for first in range(0, len(members), AT_ONCE):
            yield key.task, members[first : first + AT_ONCE]


if __name__ == "__main__":
    main()
