"""A worker whose jobs take steps, each in a child process that writes a line down."""

import json
import math
import signal
import subprocess
import sys
import threading
from pathlib import Path

from forecast.core.errors import InvalidRequest
from forecast.jobs.context import JobContext, Stopped
from forecast.jobs.limits import JobLimits
from forecast.jobs.plans import JobPlan
from forecast.jobs.records import FitResult, JobKind, JobOutcome, JobProgress
from forecast.jobs.worker import Worker
from forecast.logs import configure_logging
from tests.jobs.jobs_at_work import EFFECTS

WRITE = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n')"


def take_steps(plan: JobPlan, context: JobContext) -> JobOutcome:
    """Take the steps of a plan; the results say in what order they were."""
    done = []
    for number in range(plan.work["steps"]):
        place = {"window": str(number), "window_number": number + 1}
        context.report(JobProgress(phase="stepping", loss=math.inf, **place))
        result = context.step(f"step {number}", lambda: step(plan, context, number))  # noqa: B023
        done.append(result.pop("number"))
        context.record_fit(FitResult.model_validate(result))
    return JobOutcome(
        state="succeeded", metrics={"steps": len(done), "none": math.nan}, message=f"did {done}"
    )


def step(plan: JobPlan, context: JobContext, number: int) -> dict[str, object]:
    if number == plan.work.get("fails"):
        raise InvalidRequest(f"step {number} cannot be")
    if number == plan.work.get("breaks"):
        raise RuntimeError("a mistake of ours")
    write(context.folder / EFFECTS, number, in_child=plan.work.get("in_child", False))
    with context.log.open("a") as log:
        log.write(f"step {number} was done\n")
    if number == plan.work.get("dies"):
        signal.raise_signal(signal.SIGKILL)
    if number == plan.work.get("gated"):
        wait(context)
    return {
        "number": number,
        "window": str(number),
        "state": "trained",
        "version": f"v{number}",
        "metrics": {"a": 1.0, "b": math.nan},
    }


def write(file: Path, number: int, *, in_child: bool) -> None:
    if in_child:
        subprocess.run([sys.executable, "-c", WRITE, str(file), str(number)], check=True)
        return
    with file.open("a") as effects:
        effects.write(f"{number}\n")


def wait(context: JobContext) -> None:
    """Wait until somebody opens the gate, or the job is to stop."""
    turn = threading.Event()
    while not (context.folder / "gate").exists():
        if context.should_stop():
            raise Stopped
        turn.wait(0.02)


def main() -> None:
    given = json.loads(sys.argv[1])
    own = {name: given.pop(name) for name in ("name", "pause_s") if name in given}
    folder, url = Path(given.pop("folder")), given.pop("database_url")
    configure_logging("worker", "info", "plain", access=False)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    kinds = {JobKind.TRAINING: take_steps}
    Worker(folder, url, kinds, JobLimits(**given), **own).run(stop)


if __name__ == "__main__":
    main()
