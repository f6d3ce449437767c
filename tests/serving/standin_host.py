"""A host in a few lines of the standard library, so that it starts at once.

Run as `python standin_host.py FOLDER … --socket PATH …`. It does once what the file FOLDER/first
says: `sleep` before it listens, or listen and stay `silent`. Else it answers every call with 200,
but an initialization with 502 as long as there is a file FOLDER/unloadable.
"""

import asyncio
import sys
from pathlib import Path

ANSWER = b"HTTP/1.1 %d So\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


async def main(folder: Path, socket: str) -> None:
    first = folder / "first"
    mode = first.read_text() if first.exists() else ""
    first.unlink(missing_ok=True)
    if mode == "sleep":
        await asyncio.sleep(600)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            if mode == "silent":
                await asyncio.sleep(600)
            await reader.readexactly(_length(head))
            fails = b"/initialization " in head and (folder / "unloadable").exists()
            writer.write(ANSWER % (502 if fails else 200))
            await writer.drain()
        writer.close()

    await asyncio.start_unix_server(answer, socket)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[sys.argv.index("--socket") + 1]))
