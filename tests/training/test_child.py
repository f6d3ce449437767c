"""A child process that is heard, bounded and ended: real fits, and programs that misbehave."""

import json
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from forecast.core.errors import ForecastError, MissingLibrary
from forecast.jobs.context import Stopped
from forecast.jobs.series_files import write_series
from forecast.models import MODEL_REGISTRY
from forecast.training.child import ModelProcess, Pace, run_child
from forecast.training.plan import SERIES, FitOrder, FitPlan, write_order
from tests.training.fit_helpers import ENVIRONMENT, LSTM, job_at, weekly

SPEC = MODEL_REGISTRY["lstm"]
ENDLESS = {"max_steps": None, "max_epochs": 100_000, "early_stopping": None}


def ordered(folder: Path, *, refit: bool = False, **changes) -> Path:
    """An order to fit a model, in a folder."""
    order = FitOrder(
        model_id="lstm",
        plan=FitPlan(config=LSTM | changes),
        weights=None,
        target=folder / "target",
        refit=refit,
        checkpoints=folder / "checkpoints",
    )
    write_order(folder, order)
    write_series(folder / SERIES, [weekly(4)])
    return folder


def options(python: Path | None = None, **limits) -> ModelProcess:
    secret = {"key": "secret"} if python else {}
    chosen = {"cancel_s": 5.0, "poll_s": 0.05} | limits
    return ModelProcess(python or Path(sys.executable), ENVIRONMENT, secret, **chosen)


def program(folder: Path, text: str) -> Path:
    """A shell script in the place of an interpreter."""
    file = folder / "program"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def python_program(folder: Path, text: str) -> Path:
    (folder / "program.py").write_text(text)
    return program(folder, f"exec {sys.executable} {folder / 'program.py'}")


def run(folder: Path, job, given: ModelProcess, on_progress=lambda _: None, **more):
    return run_child(SPEC, folder, given, job.context, on_progress, **more)


# In order


def test_it_gives_what_the_action_gave_and_a_log_of_what_was_printed(tmp_path):
    text = """read first; echo "heard $first" >&2
echo '{"progress": {"phase": "training", "step": 1}}'
echo 'a launcher says so'; echo 7; echo '{"done": {"loss": 0.5}}'"""
    job, heard = job_at(tmp_path), []
    done = run(tmp_path, job, options(program(tmp_path, text)), heard.append)
    assert done == {"loss": 0.5}
    assert [one.step for one in heard] == [1]
    log = job.context.log.read_text()
    assert 'heard {"key": "secret"}' in log
    assert "a launcher says so" in log


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("""echo '{"error": {"code": "bad_data", "detail": "no"}}'; exit 1""", "bad_data"),
        ("kill -9 $$", "host_unavailable"),
        ("exit 0", "host_unavailable"),
    ],
)
def test_why_there_is_nothing_to_give_is_told(tmp_path, text, code):
    with pytest.raises(ForecastError) as failed:
        run(tmp_path, job_at(tmp_path), options(program(tmp_path, text)))
    assert failed.value.code == code


def test_what_it_leaves_behind_is_ended_and_not_waited_for(tmp_path):
    text = """sleep 1000 & echo $! > left; echo '{"done": {}}'"""
    folder = tmp_path
    assert run(folder, job_at(tmp_path), options(program(folder, f"cd {folder}; {text}"))) == {}
    left = int((folder / "left").read_text())
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_an_environment_that_is_not_there_is_told(tmp_path):
    with pytest.raises(MissingLibrary, match="pip install"):
        run(tmp_path, job_at(tmp_path), options(tmp_path / "none"))


def test_the_log_keeps_its_newest_part(tmp_path):
    text = """import sys
for n in range(20000):
    print("line", n, file=sys.stderr)
print('{"done": {}}')"""
    job = job_at(tmp_path)
    run(tmp_path, job, options(python_program(tmp_path, text), log_bytes=50_000))
    lines = job.context.log.read_text().splitlines()
    assert job.context.log.stat().st_size <= 50_100
    assert lines[0].startswith("[what was here")
    assert lines[-1] == "line 19999"


# Ended


def test_a_fit_that_is_asked_to_ends_in_order_and_saves_nothing_but_where_it_was(tmp_path):
    job = job_at(tmp_path)
    with pytest.raises(Stopped):
        run(ordered(tmp_path, **ENDLESS), job, options(cancel_s=60.0), lambda _: job.stop.set())
    assert not (tmp_path / "target").exists()
    assert list((tmp_path / "checkpoints").glob("step-*.json"))


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: open("terminated", "w").close())
os.chdir(os.path.dirname(os.path.abspath(__file__)))
open("pid", "w").write(str(os.getpid()))
print('{"progress": {"phase": "training"}}', flush=True)
for line in sys.stdin:
    if "stop" in line:
        open("asked", "w").close()
while True:
    time.sleep(0.1)
"""


def test_one_that_does_not_listen_is_asked_then_terminated_then_killed(tmp_path):
    job = job_at(tmp_path)
    given = options(python_program(tmp_path, STUBBORN), cancel_s=1.5)
    with pytest.raises(Stopped):
        run(tmp_path, job, given, lambda _: job.stop.set())
    assert (tmp_path / "asked").exists()
    assert (tmp_path / "terminated").exists()
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_one_that_takes_too_long_is_ended(tmp_path):
    job = job_at(tmp_path)
    with pytest.raises(ForecastError) as failed:
        run_child(
            SPEC,
            tmp_path,
            options(program(tmp_path, "exec sleep 1000")),
            job.with_deadline(time.monotonic() + 0.2),
            lambda _: None,
        )
    assert failed.value.code == "deadline_passed"


def test_one_that_takes_too_much_memory_is_ended_with_all_that_it_started(tmp_path):
    text = """import subprocess, sys
kept = "held = bytearray(200 << 20); import time; time.sleep(1000)"
subprocess.run([sys.executable, "-c", kept])"""
    with pytest.raises(ForecastError, match="more than the 150 MiB it may; lower") as failed:
        run(
            tmp_path,
            job_at(tmp_path),
            options(python_program(tmp_path, text), memory_bytes=150 << 20),
        )
    assert failed.value.code == "memory_limit"


def test_it_ends_when_its_parent_is_gone(tmp_path):
    """The child of a worker that is killed does not train on alone."""
    ordered(tmp_path, **ENDLESS)
    text = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.training.test_child import SPEC, job_at, options, run
folder = Path({str(tmp_path)!r})
run(folder, job_at(folder), options(), lambda told: print(told.step, flush=True))
"""
    worker = psutil.Popen([sys.executable, "-c", text], stdout=-1, env=ENVIRONMENT)
    assert worker.stdout.readline()
    children = worker.children(recursive=True)
    assert children
    worker.kill()
    worker.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


# Together


def test_two_processes_share_a_fit_and_one_of_them_speaks(tmp_path):
    job, heard = job_at(tmp_path), []
    sharing = {"strategy": "ddp", "timeout_s": 60}
    folder = ordered(tmp_path, refit=True, distributed=sharing, max_steps=60)
    done = run(folder, job, options(), heard.append, processes=2)
    assert set(done["metrics"]) == {"validation_loss"}
    assert [one.step for one in heard if one.phase == "training"][-1] == 60
    record = json.loads((tmp_path / "target" / "training_metadata.json").read_bytes())
    assert record["refit"]
    assert [one.step for one in heard if one.phase == "refitting"][-1] == record["length"]["steps"]
    saved = json.loads((tmp_path / "target" / "config.json").read_bytes())
    assert saved["config"]["distributed"]["strategy"] == "ddp"
    assert list((tmp_path / "checkpoints").glob("step-*.json"))


def test_processes_that_share_a_fit_are_stopped_together(tmp_path):
    job = job_at(tmp_path)
    before = set(psutil.Process().children(recursive=True))
    changes = ENDLESS | {"distributed": {"strategy": "ddp", "timeout_s": 60}}
    with pytest.raises(Stopped):
        run(
            ordered(tmp_path, **changes),
            job,
            options(cancel_s=60.0),
            lambda _: job.stop.set(),
            processes=2,
        )
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not (tmp_path / "target").exists()


# The pace


def test_the_end_is_guessed_from_the_steps_since_the_first_report():
    now = [100.0]
    pace = Pace(lambda: now[0])
    assert pace.eta_s(None, None) is None
    assert pace.eta_s(50, 200) is None
    now[0] = 110.0
    assert pace.eta_s(100, 200) == pytest.approx(20.0)
    assert pace.eta_s(200, 200) == 0
    assert pace.eta_s(40, 200) is None  # it began again


def test_nobody_waits_for_a_thread(tmp_path):
    before = threading.active_count()
    run(tmp_path, job_at(tmp_path), options(program(tmp_path, """echo '{"done": {}}'""")))
    assert threading.active_count() == before
