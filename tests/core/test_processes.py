import asyncio
import signal
import sys

import pytest

from forecast.core.processes import end, keep_running

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
READY_AND_WAIT = "print(flush=True); time.sleep(600)"


@pytest.mark.parametrize(
    ("before", "patience_s", "number"),
    [("import time; ", 60.0, signal.SIGTERM), (STUBBORN, 0.05, signal.SIGKILL)],
)
def test_a_process_ends_by_itself_or_is_killed(before, patience_s, number):
    async def ended() -> int | None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", before + READY_AND_WAIT, stdout=asyncio.subprocess.PIPE
        )
        await process.stdout.readline()
        await end(process, patience_s)
        await end(process, patience_s)  # over already
        return process.returncode

    assert asyncio.run(ended()) == -number


def test_what_is_kept_running_is_run_again_whatever_it_failed_of(caplog):
    outcomes = iter([OSError(24, "Too many open files"), RuntimeError("a bug"), "ended"])
    runs = []

    async def run() -> str:
        runs.append(len(runs))
        outcome = next(outcomes, None)
        if outcome is None:
            await asyncio.Event().wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def flow() -> None:
        running = asyncio.create_task(
            keep_running(run, "a worker", pause_s=0.001, longest_pause_s=0.004)
        )
        async with asyncio.timeout(60):
            while len(runs) < 4:
                await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(flow())
    assert "a worker could not be started: Too many open files" in caplog.text
    assert "a bug" in caplog.text
    assert "a worker ended" in caplog.text


def test_a_long_pause_is_cut_short():
    runs = []

    async def run() -> str:
        runs.append(len(runs))
        return "ended"

    async def flow() -> None:
        hurry = asyncio.Event()
        running = asyncio.create_task(
            keep_running(run, "a host", pause_s=3600, longest_pause_s=3600, hurry=hurry)
        )
        async with asyncio.timeout(60):
            for count in (1, 2, 3):
                while len(runs) < count:
                    await asyncio.sleep(0)
                hurry.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(flow())
