"""`python -m forecast.training.runner <job folder>`: one process that trains one model, once.

It reads `order.json` and the series from the folder, and one line of JSON from standard input:
what only the operator sets, which is never in a file. It answers on standard output, a JSON
object a line: `{"progress": …}` and in the end `{"done": …}` or `{"error": …}`. It ends when
standard input does, for then whoever started it is gone.
"""

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel, ConfigDict

from forecast.core.atomic import discard, publish
from forecast.core.errors import ForecastError
from forecast.models import MODEL_REGISTRY
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.training import Progress
from forecast.training.series_files import read_series

ORDER, TRAIN, VALIDATION = "order.json", "train.json", "validation.json"


class Order(BaseModel):
    """What the process is to do.

    Attributes:
        weights: folder to start from; None to start from nothing.
        target: folder that the trained model gets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_id: str
    config: dict[str, Any]
    weights: Path | None
    target: Path
    data_reference: str | None


def main() -> None:
    """Train; the answer says how it went, and the exit status too."""
    folder = Path(sys.argv[1])
    answers = _own_standard_output()
    operator_config = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer: dict[str, Any]
    try:
        answer = {"done": train(folder, operator_config, answers)}
    except ForecastError as error:
        answer = {"error": {"code": error.code, "detail": error.detail}}
    except Exception:  # noqa: BLE001 -- the process boundary: told as an error of ours
        traceback.print_exc()
        detail = "training failed for a reason of ours; the log of the job holds it"
        answer = {"error": {"code": ForecastError.code, "detail": detail}}
    _say(answers, answer)
    answers.flush()
    os._exit("error" in answer)  # what a library still runs must not keep the process


def train(folder: Path, operator_config: dict[str, Any], answers: TextIO) -> dict[str, float]:
    """Do what the order says, and give the best metrics.

    Raises:
        ForecastError: it cannot be done.
    """
    order = Order.model_validate_json((folder / ORDER).read_bytes())
    model = _model(order, operator_config)

    def report(progress: Progress) -> None:
        _say(answers, {"progress": progress.model_dump(mode="json")})

    model.fit(
        read_series(folder / TRAIN),
        read_series(folder / VALIDATION) or None,
        on_progress=report,
        checkpoints=folder / "checkpoints",
        data_reference=order.data_reference,
    )
    _save(model, order.target)
    return model.best_metrics_


def _model(order: Order, operator_config: dict[str, Any]) -> BaseTimeSeriesModel:
    model_class = MODEL_REGISTRY[order.model_id].model_class()
    return model_class.load_model(order.weights, **order.config, **operator_config)


def _save(model: BaseTimeSeriesModel, target: Path) -> None:
    draft = draft_of(target)
    discard(draft)
    draft.parent.mkdir(parents=True, exist_ok=True)
    model.save_model(draft)
    publish(draft, target)


def draft_of(target: Path) -> Path:
    """Name the folder that a model is written to before it is whole."""
    return target.with_name(f".{target.name}-draft")


def _own_standard_output() -> TextIO:
    """Keep standard output for answers; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _say(answers: TextIO, document: dict[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


def _end_with_parent() -> None:
    while sys.stdin.read(4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
