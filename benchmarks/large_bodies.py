"""How long a large body keeps everybody else waiting, in one run.

    python -m benchmarks.large_bodies            # 50 MB; --megabytes 10 for less

First in one event loop: the longest it stands still while the fields that say where a request
goes are read, against decoding the whole body. Then over HTTP: the slowest of many small calls
while large bodies are sent to the route across models, against the route of one model.
"""

import argparse
import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable

import numpy as np
import orjson

from benchmarks.running_gateway import KEY, Gateway, running_gateway
from forecast.data.bodies import envelope_of
from forecast.data.policy import DataPolicy

ROUNDS = 5


def large_body(megabytes: int) -> bytes:
    """Make a request of one long series; the model repeats its last value."""
    values = np.round(np.random.default_rng(0).normal(size=megabytes * 100_000), 5)
    document = {
        "model": "statistical",
        "inputs": [{"target": values.tolist()}],
        "parameters": {
            "horizon": 1,
            "timeout_s": 120,
            "quantile_levels": [],
            "model_options": {"model": "naive"},
        },
    }
    return json.dumps(document).encode()


async def standstill(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Measure the seconds that work takes, and the longest that the loop stood still meanwhile."""
    task = asyncio.ensure_future(work())
    began = last = time.perf_counter()
    longest = 0.0
    while not task.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await task
    return time.perf_counter() - began, longest


async def in_one_loop(body: bytes) -> None:
    async def decoded() -> object:
        return orjson.dumps(orjson.loads(body))

    async def decoded_aside() -> object:
        return await asyncio.to_thread(orjson.loads, body)

    async def fields_aside() -> object:
        return await asyncio.to_thread(envelope_of, body, DataPolicy())

    whole = 0.0
    for name, work in (
        ("decoded and encoded again on the loop", decoded),
        ("decoded in a thread", decoded_aside),
        ("only the fields, in a thread", fields_aside),
    ):
        found = [await standstill(work) for _ in range(ROUNDS)]
        takes, longest = (float(np.median(column)) for column in zip(*found, strict=True))
        whole = whole or longest
        print(
            f"{name:<40} takes {takes * 1e3:7.0f} ms, loop stands still {longest * 1e3:7.1f} ms"
            f" ({longest / whole:.1%})"
        )


def slowest_small_call(gateway: Gateway, path: str, body: bytes) -> float:
    """Send large bodies one after the other, and small calls meanwhile."""
    is_over = threading.Event()

    def send() -> None:
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        for _ in range(ROUNDS):
            request = urllib.request.Request(gateway.url + path, data=body, headers=headers)
            urllib.request.urlopen(request, timeout=120).read()
        is_over.set()

    sender = threading.Thread(target=send)
    sender.start()
    slowest = 0.0
    while not is_over.wait(0.005):
        began = time.perf_counter()
        gateway.call("GET", "/health/live")
        slowest = max(slowest, time.perf_counter() - began)
    sender.join()
    return slowest


def over_http(body: bytes) -> None:
    with running_gateway(FORECAST_MODELS="statistical") as gateway:
        model = "/forecast/v1/statistical"
        small = {"inputs": [{"target": [1, 2, 3]}], "parameters": {"horizon": 1}}
        gateway.call("POST", f"{model}/inference", small)
        plain = body.replace(b'"model": "statistical", ', b"")
        direct = slowest_small_call(gateway, f"{model}/inference", plain)
        routed = slowest_small_call(gateway, "/forecast/v1/forecast", body)
        print(
            f"slowest small call while large bodies are sent: {routed * 1e3:.0f} ms across models,"
            f" {direct * 1e3:.0f} ms to the model itself, ratio {routed / direct:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=50)
    body = large_body(parser.parse_args().megabytes)
    print(f"a body of {len(body) / 1e6:.0f} MB")
    asyncio.run(in_one_loop(body))
    over_http(body)


if __name__ == "__main__":
    main()
