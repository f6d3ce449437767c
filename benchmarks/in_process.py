"""The limit: the same model called directly, in a process that does nothing else.

Run as a process of its own:
    python -m benchmarks.in_process FOLDER --horizon 64 --context 512 --batches 1 8 32 --threads 2
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def measure(
    folder: Path, *, batches: Sequence[int], threads: int, seconds: float, lengths: str = "512"
) -> dict[str, float]:
    """Series per second with the library's own pipeline, by batch size, and the best."""
    command = [sys.executable, "-m", "benchmarks.in_process", str(folder), "--lengths", lengths]
    command += ["--threads", str(threads), "--seconds", str(seconds)]
    command += ["--batches", *map(str, batches)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--horizon", type=int, default=64)
    parser.add_argument("--lengths", default="512", help="of the series of a batch, in turn")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()

    import torch
    from chronos import BaseChronosPipeline

    torch.set_num_threads(given.threads)
    pipeline = BaseChronosPipeline.from_pretrained(given.folder, dtype=torch.float32)
    lengths = [int(length) for length in given.lengths.split(",")]
    rates = {}
    for batch in given.batches:
        series = [torch.randn(lengths[i % len(lengths)]) for i in range(batch)]

        def call(series: list[torch.Tensor] = series) -> None:
            pipeline.predict_quantiles(
                series,
                prediction_length=given.horizon,
                quantile_levels=[level / 10 for level in range(1, 10)],
            )

        call()
        calls, started = 0, time.perf_counter()
        while time.perf_counter() - started < given.seconds:
            call()
            calls += 1
        rates[str(batch)] = calls * batch / (time.perf_counter() - started)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
