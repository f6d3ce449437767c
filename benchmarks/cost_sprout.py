"""What Sprout costs: the start of its host, its memory, a lone series, and large batches.

    python -m benchmarks.cost_sprout

Wall time is that of this machine and its other work; processor time is that of the host alone.
Targets: ready within 1 s, at most 180 MB, 25 ms for a lone series, 500 series/s on two cores.
"""

import statistics
import sys
import time
from typing import Any

import numpy as np
import psutil

from benchmarks.running_gateway import Gateway, free_port, running

STEPS, HORIZON = 700, 48
LONE, BATCHES, IN_A_BATCH = 40, 5, 128
PATH = "/forecast/v1/sprout"


def body(count: int) -> dict[str, Any]:
    steps = np.arange(STEPS)
    noise = np.random.default_rng(0).normal(0, 2, (count, STEPS))
    target = (50 + 10 * np.sin(2 * np.pi * steps / 24) + noise).round(3)
    inputs = [{"target": row.tolist(), "start": "2026-01-01", "freq": "h"} for row in target]
    return {"inputs": inputs, "parameters": {"horizon": HORIZON, "quantile_levels": [0.1, 0.9]}}


def used(host: psutil.Process) -> float:
    return sum(host.cpu_times()[:2])


def timed(host: psutil.Process, gateway: Gateway, count: int, times: int) -> tuple[float, float]:
    """Ask so many times: the median wall and the mean processor seconds of a call."""
    asked, walls, before = body(count), [], used(host)
    for _ in range(times):
        began = time.perf_counter()
        gateway.call("POST", f"{PATH}/inference", asked)
        walls.append(time.perf_counter() - began)
    return statistics.median(walls), (used(host) - before) / times


def main() -> None:
    command = [sys.executable, "-m", "forecast.host", "sprout"]
    began = time.perf_counter()
    with running(command, free_port(), {"FORECAST_LOG_LEVEL": "warning"}) as gateway:
        host = psutil.Process(gateway.pid)
        while gateway.call("GET", f"{PATH}/status")["model_status"] != "ready":
            time.sleep(0.01)
        print(f"ready after {time.perf_counter() - began:.1f} s, {used(host):.2f} s of processor")
        gateway.call("POST", f"{PATH}/inference", body(1))
        print(f"memory {host.memory_info().rss / 1e6:.0f} MB")
        wall, cpu = timed(host, gateway, 1, LONE)
        print(f"lone series: {1e3 * wall:.1f} ms, {1e3 * cpu:.1f} ms of processor")
        wall, cpu = timed(host, gateway, IN_A_BATCH, BATCHES)
        print(
            f"batches of {IN_A_BATCH}: {IN_A_BATCH / wall:.0f} series/s,"
            f" {IN_A_BATCH / cpu:.0f} a second of processor"
        )
        print(f"memory {host.memory_info().rss / 1e6:.0f} MB after it")


if __name__ == "__main__":
    main()
