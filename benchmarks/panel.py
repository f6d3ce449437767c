"""How long the default takes for a panel of many series in one request.

    python -m benchmarks.panel                # 1 000 monthly series of 120 points
    python -m benchmarks.panel --series 100

The second call is measured: workers have started, but nothing is kept of the first. Processor
time is that of the gateway and all of its processes; on an idle machine the wall time is about
that over the number of cores.
"""

import argparse
import time
from typing import Any

import numpy as np
import psutil

from benchmarks.running_gateway import Gateway, running_gateway

MONTHS = 120


def panel(count: int, seed: int) -> dict[str, Any]:
    """Make sales with a trend, a year and noise."""
    draw = np.random.default_rng(seed)
    months = np.arange(MONTHS)
    year = draw.uniform(0, 20, (count, 1)) * np.sin(2 * np.pi * months / 12)
    target = 100 + draw.normal(0, 0.3, (count, 1)) * months + year
    target += draw.normal(0, 5, target.shape) + draw.normal(0, 1, target.shape).cumsum(axis=1)
    inputs = [
        {"item_id": str(index), "start": "2015-01-01", "freq": "MS", "target": row.tolist()}
        for index, row in enumerate(target.round(3))
    ]
    parameters = {"horizon": 12, "quantile_levels": [0.1, 0.5, 0.9], "timeout_s": 600}
    return {"inputs": inputs, "parameters": parameters}


def processor_seconds(root: psutil.Process) -> float:
    """Add up what a process, its descendants and those it has waited for have used."""
    family = [root, *root.children(recursive=True)]
    return sum(sum(process.cpu_times()[:4]) for process in family)


def measure(gateway: Gateway, process: psutil.Process, count: int) -> None:
    path = "/forecast/v1/statistical/inference"
    gateway.call("POST", path, panel(min(count, 50), 1))
    body = panel(count, 2)
    began, before = time.perf_counter(), processor_seconds(process)
    answer = gateway.call("POST", path, body)
    wall, used = time.perf_counter() - began, processor_seconds(process) - before
    assert len(answer["predictions"]) == count
    print(f"{count} series of {MONTHS} months: {wall:.1f} s, {used:.1f} s of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1000)
    given = parser.parse_args()
    with running_gateway(FORECAST_MODELS="statistical") as gateway:
        measure(gateway, psutil.Process(gateway.pid), given.series)


if __name__ == "__main__":
    main()
