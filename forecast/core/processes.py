"""Child processes of an event loop."""

import asyncio


async def end(process: asyncio.subprocess.Process, patience_s: float) -> None:
    """Ask a process to end, and kill it where it does not in time; one that is over is fine."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience_s)
    except TimeoutError:
        process.kill()
        await process.wait()
