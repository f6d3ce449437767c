"""The workers of a gateway: started, started again, ended with it."""

import asyncio
import os
import signal
import sys
import time

import psutil
import pytest

from forecast.jobs.supervisor import WorkersOptions, WorkerSupervisor
from tests.jobs.jobs_at_work import PATIENCE_S, SERIES, jobs_of, plan, until, until_true

# Says its name, and ends with its standard input, as a worker does.
CHILD = """
import pathlib, sys
pathlib.Path(sys.argv[1], sys.argv[3]).touch()
sys.stdin.buffer.read()
"""
GATEWAY = """
import asyncio, sys
from forecast.jobs.supervisor import WorkersOptions, WorkerSupervisor

async def main():
    command = (sys.executable, "-m", "forecast.worker", "--exit-with-parent")
    workers = WorkerSupervisor(WorkersOptions(command, environment={"FORECAST_HOME": sys.argv[1]}))
    await workers.start()
    while not workers.pids:
        await asyncio.sleep(0.05)
    print(workers.pids[0], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def supervisor(folder, code: str = CHILD, **options: object) -> WorkerSupervisor:
    command = (sys.executable, "-c", code, str(folder))
    return WorkerSupervisor(WorkersOptions(command, restart_pause_s=0.05, **options))


def test_each_worker_has_a_name_and_comes_back_when_it_is_killed(tmp_path):
    async def flow():
        workers = supervisor(tmp_path, count=2)
        await workers.start()
        await until_true(lambda: len(list(tmp_path.iterdir())) == 2, "both started")
        assert {path.name for path in tmp_path.iterdir()} == {"gateway-0", "gateway-1"}
        killed, other = workers.pids
        (tmp_path / "gateway-0").unlink()
        os.kill(killed, signal.SIGKILL)
        await until_true((tmp_path / "gateway-0").exists, "started again")
        pids = workers.pids
        assert killed not in pids
        assert other in pids
        await workers.close()
        assert workers.pids == []
        assert not any(psutil.pid_exists(pid) for pid in pids)

    asyncio.run(flow())


def test_a_worker_that_does_not_end_is_killed(tmp_path):
    async def flow():
        stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{CHILD}"
        workers = supervisor(tmp_path, stubborn, stop_s=0.2)
        await workers.start()
        await until_true(lambda: list(tmp_path.iterdir()), "started")
        pid = workers.pids[0]
        await workers.close()
        assert not psutil.pid_exists(pid)

    asyncio.run(flow())


def test_one_that_cannot_be_started_disturbs_nobody(tmp_path, caplog):
    async def flow():
        workers = WorkerSupervisor(WorkersOptions((str(tmp_path / "nothing"),)))
        await workers.start()
        await until_true(lambda: "could not be started" in caplog.text, "said so")
        assert workers.pids == []
        await workers.close()

    asyncio.run(flow())


def test_a_worker_ends_with_its_gateway_and_hands_its_jobs_over(tmp_path):
    async def flow():
        environment = {"PATH": os.environ["PATH"]}
        gateway = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            GATEWAY,
            str(tmp_path),
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        pid = int(await gateway.stdout.readline())
        jobs = jobs_of(tmp_path / "jobs", f"sqlite:///{tmp_path / 'jobs.db'}")
        give_up = time.monotonic() + PATIENCE_S
        while (await jobs.health())["workers"] != 1:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.1)
        gateway.kill()
        await gateway.wait()
        await until_true(lambda: not psutil.pid_exists(pid), "the worker ends")
        assert (await jobs.health())["workers"] == 0
        job = await jobs.submit(plan(), SERIES)
        assert (await until(jobs, job.id, lambda job: job)).attempts == 0
        await jobs.close()

    asyncio.run(flow())


@pytest.mark.parametrize("count", [0])
def test_none_are_started_where_they_run_elsewhere(count, tmp_path):
    async def flow():
        workers = supervisor(tmp_path, count=count)
        await workers.start()
        assert workers.pids == []
        await workers.close()

    asyncio.run(flow())
