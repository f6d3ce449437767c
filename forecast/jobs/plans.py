"""What a job is to do: `plan.json` in its folder, with the series in a file beside it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forecast.core.atomic import discard, publish
from forecast.core.types import Series
from forecast.jobs.records import JobKind, Record
from forecast.jobs.series_files import read_series, write_series

PLAN, SERIES = "plan.json", "series.json"


class JobPlan(Record):
    """What a job is to do.

    Attributes:
        work: the plan of its kind, as JSON; only the code that carries it out reads it.
        warnings: about the data.
    """

    kind: JobKind
    model_id: str
    work: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()


def write_plan(folder: Path, plan: JobPlan, series: Sequence[Series]) -> None:
    """Write a plan and its series into a folder that appears whole.

    Raises:
        FileExistsError: the folder exists.
    """
    draft = folder.with_name(f".{folder.name}-{os.getpid()}-draft")
    discard(draft)
    draft.mkdir(parents=True)
    try:
        write_series(draft / SERIES, series)
        (draft / PLAN).write_text(plan.model_dump_json(indent=2) + "\n")
        publish(draft, folder)
    finally:
        discard(draft)


def read_plan(folder: Path) -> JobPlan:
    """Read the plan that `write_plan` wrote; `read_plan_series` reads its series."""
    return JobPlan.model_validate_json((folder / PLAN).read_bytes())


def read_plan_series(folder: Path) -> list[Series]:
    """Read the series of a plan, whole: nothing is cut yet."""
    return read_series(folder / SERIES)
