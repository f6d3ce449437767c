"""Requests per second over HTTP against the same model called in process, in one run.

    python -m benchmarks.throughput                 # everything, about six minutes
    python -m benchmarks.throughput --only chronos  # or: light, hop, lengths

Ratios from one run count; absolute numbers depend on the machine and its other work.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import in_process, load
from benchmarks.running_gateway import KEY, Gateway, running, running_gateway

CALLERS = (1, 8, 32, 64)
BATCHES = (1, 8, 16, 32)
DECILES = [level / 10 for level in range(1, 10)]
MIXED = (64, 100, 200, 300, 512, 700, 1024, 2048)


def request(lengths: tuple[int, ...], horizon: int = 64) -> bytes:
    rng = np.random.default_rng(0)
    inputs = [
        {"item_id": str(number), "target": np.round(rng.normal(size=length), 4).tolist()}
        for number, length in enumerate(lengths)
    ]
    parameters = {"horizon": horizon, "quantile_levels": DECILES, "timeout_s": 120}
    return json.dumps({"inputs": inputs, "parameters": parameters}).encode()


def load_weights(gateway: Gateway, folder: Path) -> None:
    body = {"source": f"local:{folder}"}
    gateway.call("POST", "/forecast/v1/chronos/initialization", body)


def show(loads: list[load.Load], best: float | None = None) -> None:
    print(f"{'callers':>8} {'req/s':>8} {'of best':>8} {'p50 ms':>8} {'p99 ms':>8} {'batch':>6}")
    for one in loads:
        share = f"{one.per_second / best:.0%}" if best else ""
        print(
            f"{one.callers:>8} {one.per_second:>8.1f} {share:>8} {one.p50_ms:>8.1f}"
            f" {one.p99_ms:>8.1f} {one.batch_size:>6.1f}"
        )


def chronos(folder: Path, seconds: float) -> None:
    """Targets 1, 2 and 7 of the performance page, with the torch engine."""
    cores = os.cpu_count() or 1
    print("\nChronos-Bolt-small, random weights, context 512, horizon 64, nine quantiles")
    before = in_process.measure(folder, batches=BATCHES, threads=cores, seconds=seconds / 2)
    with running_gateway(FORECAST_LOCAL_ROOTS=json.dumps([str(folder)])) as gateway:
        load_weights(gateway, folder)
        url = f"{gateway.url}/forecast/v1/chronos/inference"
        loads = load.measure(url, request((512,)), key=KEY, callers=CALLERS, seconds=seconds)
    after = in_process.measure(folder, batches=BATCHES, threads=cores, seconds=seconds / 2)
    rates = {batch: statistics.mean((before[batch], after[batch])) for batch in before}
    print(
        "in process, series/s by batch:", {batch: round(rate, 1) for batch, rate in rates.items()}
    )
    best_batch, best = max(rates.items(), key=lambda pair: pair[1])
    show(loads, best)
    alone_ms, full_ms = 1000 / rates["1"], 1000 * int(best_batch) / best
    print(f"lone request: {loads[0].p50_ms - alone_ms:+.1f} ms over the in-process call")
    print(f"p99 at 64 callers: {loads[-1].p99_ms / full_ms:.2f} × a full batch of {best_batch}")


def light(seconds: float) -> None:
    """A model that costs next to nothing: what is left is the server."""
    print("\nseasonal naive, context 512, horizon 64: the server itself is the cost")
    with running_gateway() as gateway:
        warm_up(gateway)
        url = f"{gateway.url}/forecast/v1/statistical/inference"
        show(load.measure(url, naive_request(), key=KEY, callers=CALLERS, seconds=seconds))


def naive_request() -> bytes:
    body = json.loads(request((512,)))
    body["parameters"]["model_options"] = {"model": "seasonal_naive", "season_length": 7}
    return json.dumps(body).encode()


def warm_up(gateway: Gateway) -> None:
    gateway.call("POST", "/forecast/v1/statistical/inference", json.loads(naive_request()))


def hop(seconds: float) -> None:
    """Target 3: what the gateway adds to a call of the host itself."""
    print("\nthe gateway's hop: a host called directly, and through the gateway")
    command = [sys.executable, "-m", "forecast.host", "statistical", "--port", "8124"]
    with (
        running(command, 8124) as host,
        running_gateway(FORECAST_HOSTS=json.dumps({"statistical": host.url})) as gateway,
    ):
        warm_up(gateway)
        body, path = naive_request(), "/forecast/v1/statistical/inference"
        rounds = [
            [
                load.measure(side.url + path, body, key=KEY, callers=(1,), seconds=seconds / 2)[0]
                for side in (host, gateway)
            ]
            for _ in range(3)
        ]
    direct, through = (statistics.median(pair[side].p50_ms for pair in rounds) for side in (0, 1))
    print(
        f"median of a lone call: {direct:.2f} ms directly, {through:.2f} ms through the gateway:"
        f" {through - direct:+.2f} ms"
    )


def lengths(folder: Path) -> None:
    """Target 7: a panel of mixed lengths against one batch padded to the longest."""
    print("\n32 series of 64 to 2048 points: one padded batch in process, and one request")
    cores = os.cpu_count() or 1
    listed = ",".join(map(str, MIXED))
    rate = in_process.measure(folder, batches=[32], threads=cores, seconds=6, lengths=listed)["32"]
    with running_gateway(FORECAST_LOCAL_ROOTS=json.dumps([str(folder)])) as gateway:
        load_weights(gateway, folder)
        body = json.loads(request(MIXED * 4))
        spent = []
        for _ in range(6):
            started = time.perf_counter()
            gateway.call("POST", "/forecast/v1/chronos/inference", body)
            spent.append(time.perf_counter() - started)
    padded, bucketed = 32 / rate, statistics.median(spent[1:])
    print(
        f"{1000 * padded:.0f} ms padded, {1000 * bucketed:.0f} ms through the gateway:"
        f" {padded / bucketed:.1f} × as fast"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["chronos", "light", "hop", "lengths"])
    parser.add_argument("--seconds", type=float, default=15.0, help="for each number of callers")
    parser.add_argument("--size", choices=["tiny", "mini", "small", "base"], default="small")
    given = parser.parse_args()
    from forecast.models.chronos.tiny import write_bolt

    with tempfile.TemporaryDirectory() as folder:
        write_bolt(Path(folder), given.size)
        parts = {
            "chronos": lambda: chronos(Path(folder), given.seconds),
            "light": lambda: light(given.seconds),
            "hop": lambda: hop(given.seconds),
            "lengths": lambda: lengths(Path(folder)),
        }
        for name, part in parts.items():
            if given.only in (None, name):
                part()


if __name__ == "__main__":
    main()
