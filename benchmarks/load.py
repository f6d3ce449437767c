"""Closed-loop load: so many callers, each sending its next request when it has its answer.

Run as a process of its own, so that it shares no interpreter with what it measures:
    python -m benchmarks.load URL BODY_FILE --key KEY --callers 1 8 32 --seconds 10
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import numpy as np


@dataclass(frozen=True)
class Load:
    """What so many callers saw; times in milliseconds."""

    callers: int
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    batch_size: float


def measure(
    url: str, body: bytes, *, key: str, callers: Sequence[int], seconds: float
) -> list[Load]:
    """Load `url` from a process of its own, once for each number of callers."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        Path(file.name).write_bytes(body)
        command = [sys.executable, "-m", "benchmarks.load", url, file.name, "--key", key]
        command += ["--seconds", str(seconds), "--callers", *map(str, callers)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return [Load(**fields) for fields in json.loads(answer.stdout)]


async def _load(url: str, body: bytes, key: str, callers: int, seconds: float) -> Load:
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=callers)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await _callers(session, url, body, callers, min(2.0, seconds / 4))  # warm up
        started = time.perf_counter()
        answers = await _callers(session, url, body, callers, seconds)
        elapsed = time.perf_counter() - started
    times = np.array([spent for spent, _ in answers]) * 1000
    return Load(
        callers=callers,
        requests=len(answers),
        per_second=len(answers) / elapsed,
        p50_ms=float(np.percentile(times, 50)),
        p99_ms=float(np.percentile(times, 99)),
        batch_size=float(np.mean([size for _, size in answers])),
    )


async def _callers(
    session: aiohttp.ClientSession, url: str, body: bytes, callers: int, seconds: float
) -> list[tuple[float, int]]:
    until = time.perf_counter() + seconds
    lists = await asyncio.gather(*(_one(session, url, body, until) for _ in range(callers)))
    return [answer for answers in lists for answer in answers]


async def _one(
    session: aiohttp.ClientSession, url: str, body: bytes, until: float
) -> list[tuple[float, int]]:
    answers = []
    while (started := time.perf_counter()) < until:
        async with session.post(url, data=body) as response:
            text = await response.read()
        if response.status != 200:
            raise SystemExit(text.decode())
        spent = time.perf_counter() - started
        answers.append((spent, json.loads(text)["timing"]["batch_size"]))
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--key", required=True)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    body = given.body.read_bytes()
    loads = [
        asyncio.run(_load(given.url, body, given.key, callers, given.seconds))
        for callers in given.callers
    ]
    print(json.dumps([asdict(load) for load in loads]))


if __name__ == "__main__":
    main()
