"""Child processes of an event loop: kept running, and ended."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn

log = logging.getLogger(__name__)


async def keep_running(
    run: Callable[[], Awaitable[str]],
    name: str,
    *,
    pause_s: float,
    longest_pause_s: float,
    hurry: asyncio.Event | None = None,
) -> NoReturn:
    """Run a process, and run it again whenever it ends. Only cancellation ends this.

    Args:
        run: starts the process, waits for its end and says how it ended.
        name: of the process, for the log.
        pause_s: before the first restart; doubles up to `longest_pause_s`, and starts over once
            a process has lived that long.
        hurry: cuts the pause short when it is set.
    """
    hurry = hurry or asyncio.Event()
    pause = pause_s
    while True:
        started = time.monotonic()
        try:
            how = await run()
        except OSError as error:
            how = f"could not be started: {error.strerror or error}"
        except Exception:
            log.exception("watching %s failed", name)
            how = "was lost"
        if time.monotonic() - started > longest_pause_s:
            pause = pause_s
        log.error("%s %s; restart in %.1f s", name, how, pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await hurry.wait()
        hurry.clear()
        pause = min(2 * pause, longest_pause_s)


async def end(process: asyncio.subprocess.Process, patience_s: float) -> None:
    """Ask a process to end, and kill it if it does not in time; one that has ended is fine."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):  # it may end before its event loop hears of it
        process.terminate()
    try:
        async with asyncio.timeout(patience_s):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
