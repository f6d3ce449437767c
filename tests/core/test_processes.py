import asyncio
import signal
import sys

import pytest

from forecast.core.processes import end

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
