"""What Sprout costs: the start of its host, its memory, a lone series, and large batches.

    python -m benchmarks.cost_sprout

Start, memory and a lone series are those of one host. Batches go through a gateway, which holds
the model once a core, from as many callers as there are cores. Wall time is that of this machine
and its other work; processor time is that of the processes measured.
Targets: ready within 1 s, at most 180 MB, 25 ms for a lone series, 500 series/s on two cores.
"""

import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from benchmarks.running_gateway import Gateway, free_port, running, running_gateway
from forecast.core.machine import cores

STEPS, HORIZON = 700, 48
LONE, BATCHES, IN_A_BATCH = 40, 5, 128
PATH = "/forecast/v1/sprout"


def body(count: int) -> bytes:
    steps = np.arange(STEPS)
    noise = np.random.default_rng(0).normal(0, 2, (count, STEPS))
    target = (50 + 10 * np.sin(2 * np.pi * steps / 24) + noise).round(3)
    inputs = [{"target": row.tolist(), "start": "2026-01-01", "freq": "h"} for row in target]
    parameters = {"horizon": HORIZON, "quantile_levels": [0.1, 0.9]}
    return json.dumps({"inputs": inputs, "parameters": parameters}).encode()


def used(process: psutil.Process) -> float:
    """Add up the processor time of a process and those it started."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in family)


def timed(gateway: Gateway, count: int, times: int) -> tuple[float, float]:
    """Ask so many times: the median wall and the mean processor seconds of a call."""
    process = psutil.Process(gateway.pid)
    asked, walls, before = body(count), [], used(process)
    for _ in range(times):
        began = time.perf_counter()
        gateway.call("POST", f"{PATH}/inference", asked)
        walls.append(time.perf_counter() - began)
    return statistics.median(walls), (used(process) - before) / times


def wait_until_ready(gateway: Gateway) -> None:
    while gateway.call("GET", f"{PATH}/status")["model_status"] != "ready":
        time.sleep(0.01)


def one_host() -> None:
    command = [sys.executable, "-m", "forecast.host", "sprout"]
    began = time.perf_counter()
    with running(command, free_port(), {"FORECAST_LOG_LEVEL": "warning"}) as gateway:
        host = psutil.Process(gateway.pid)
        wait_until_ready(gateway)
        print(f"ready after {time.perf_counter() - began:.1f} s, {used(host):.2f} s of processor")
        gateway.call("POST", f"{PATH}/inference", body(1))
        print(f"memory {host.memory_info().rss / 1e6:.0f} MB")
        wall, cpu = timed(gateway, 1, LONE)
        print(f"lone series: {1e3 * wall:.1f} ms, {1e3 * cpu:.1f} ms of processor")
        timed(gateway, IN_A_BATCH, BATCHES)
        print(f"memory {host.memory_info().rss / 1e6:.0f} MB after batches of {IN_A_BATCH}")


def all_cores() -> None:
    callers = cores()
    with running_gateway(FORECAST_MODELS="sprout") as gateway, ThreadPoolExecutor(callers) as pool:
        wait_until_ready(gateway)
        timed(gateway, IN_A_BATCH, callers)
        process = psutil.Process(gateway.pid)
        began, before = time.perf_counter(), used(process)
        asked = [pool.submit(timed, gateway, IN_A_BATCH, BATCHES) for _ in range(callers)]
        for each in asked:
            each.result()
        count = callers * BATCHES * IN_A_BATCH
        wall, cpu = time.perf_counter() - began, used(process) - before
    print(
        f"batches of {IN_A_BATCH} from {callers} callers: {count / wall:.0f} series/s,"
        f" {count / cpu:.0f} a second of processor"
    )


def main() -> None:
    one_host()
    all_cores()


if __name__ == "__main__":
    main()
