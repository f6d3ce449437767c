"""What a worker does with a job that is its own: its plan is read and carried out."""

import json
import logging
from collections.abc import Callable, Mapping

from pydantic import ValidationError

from forecast.core.atomic import write_text
from forecast.core.errors import DeadlinePassed, FileMissing, ForecastError
from forecast.jobs.context import JobContext, Stopped
from forecast.jobs.folders import RESULT
from forecast.jobs.plans import JobPlan, read_plan
from forecast.jobs.records import JobError, JobKind, JobOutcome, finite
from forecast.jobs.run import Run

log = logging.getLogger(__name__)

Kinds = Mapping[JobKind, Callable[[JobPlan, JobContext], JobOutcome]]
"""Kind of job → the function that carries it out."""

INTERRUPTED = "interrupted"


def carried_out(run: Run, kinds: Kinds, *, gives_up: bool) -> JobOutcome:
    """Carry out a job to its end, whatever that is; never raises.

    Args:
        gives_up: its workers died too often.
    """
    if run.is_cancelled:
        outcome = JobOutcome(state="cancelled")
    elif gives_up:
        detail = "each worker that ran it died; the log of the job says how far it came"
        outcome = _failed(INTERRUPTED, detail)
    else:
        outcome = _tried(run, kinds)
    if run.context.is_late and outcome.state != "succeeded" and not run.is_cancelled:
        outcome = _failed(DeadlinePassed.code, "it took longer than a job may here")
    return outcome


def _tried(run: Run, kinds: Kinds) -> JobOutcome:
    context = run.context
    try:
        plan = read_plan(context.folder)
        outcome = finite(kinds[plan.kind](plan, context))
        outcome = outcome.model_copy(update={"windows": tuple(map(finite, outcome.windows))})
        if outcome.state == "succeeded":
            _write_result(context, plan, outcome)
    except Stopped:
        return JobOutcome(state="cancelled")
    except ForecastError as error:
        return _failed(error.code, error.detail)
    except (FileNotFoundError, ValidationError):
        log.exception("job %s cannot be read", context.job_id)
        detail = "the worker cannot read the job; gateway and workers need the same job folder"
        return _failed(FileMissing.code, detail)
    except Exception:
        log.exception("job %s failed", context.job_id)
        return _failed(ForecastError.code, "internal error; see the job log")
    return outcome


def _failed(code: str, detail: str) -> JobOutcome:
    return JobOutcome(state="failed", error=JobError(code=code, detail=detail))


def _write_result(context: JobContext, plan: JobPlan, outcome: JobOutcome) -> None:
    """Write the result, where the work wrote none of its own."""
    file = context.folder / RESULT
    if file.exists():
        return
    said = outcome.model_dump(mode="json", exclude={"state", "error"})
    source = f"store:{outcome.version}" if outcome.version else None
    whole = {"job_id": context.job_id, "model_id": plan.model_id, "source": source} | said
    write_text(file, json.dumps(whole, indent=2) + "\n")
