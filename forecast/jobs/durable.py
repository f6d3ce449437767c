"""Pieces of a job's work, each done once, whose failures are told and not raised through."""

from collections.abc import Callable
from typing import Any

from forecast.core.errors import DeadlinePassed, ForecastError
from forecast.jobs.context import JobContext, Stopped, WorkFailed

_ERROR = "error"


def once(context: JobContext, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do a piece of work durably, and give its JSON, now or of then.

    Raises:
        Stopped: the job is to be cancelled.
        WorkFailed: it could not be done, now or then, or the job has taken too long.
    """
    if context.should_stop():
        raise Stopped
    if context.is_late:
        raise WorkFailed(DeadlinePassed.code, "the job took longer than it may")
    done = context.step(name, lambda: _told(work))
    if _ERROR in done:
        raise WorkFailed(**done[_ERROR])
    return done


def _told(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except ForecastError as error:
        return {_ERROR: {"code": error.code, "detail": error.detail}}
    except WorkFailed as failed:
        return {_ERROR: failed.error.model_dump()}
