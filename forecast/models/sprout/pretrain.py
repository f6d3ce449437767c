"""Pretrain the network on synthetic series.

    python -m forecast.models.sprout.pretrain --windows 1000000 --out weights

Writes, for each width asked, the best weights by the loss on synthetic windows that are kept
back (`sprout-<width>.safetensors`), a line of figures a report (`log.jsonl`) and the state to
resume from (`state.pt`); started again with the same folder it goes on. Every width is
trained on the same windows. No real series has a part in it.
"""

import argparse
import json
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from forecast.models.sprout.forward import COVERAGES, LEVELS
from forecast.models.sprout.network import SproutNetwork, loss, tensors_of, to_arrays
from forecast.models.sprout.optimizing import Optimizers
from forecast.models.sprout.producing import (
    PART,
    Producer,
    Rows,
    cores,
    packed,
    producing,
    unpacked,
)
from forecast.models.sprout.windows import training_windows

VALIDATION_SEED = 7_777_777
_VALIDATION_PARTS = 16  # each of a horizon of its own
_VALIDATION_WINDOWS = 128  # in a part
_PART_ON_CPU = 64  # windows that are computed together
_WARM_UP_STEPS = 50
_AVERAGE = 0.998  # share that the average of the weights keeps at each step
_FINAL_SHARE = 0.01  # of the learning rates
_WILDER = 1.1  # times the distances that hold on synthetic series: the real world is wilder


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes:
        windows: to train on in all.
        minutes: after which it ends even so; the learning rates fall in time for that.
        constant: share of the training before the learning rates begin to fall.
        report_every: seconds.
    """

    windows: int
    minutes: float
    out: Path
    widths: tuple[int, ...]
    batch: int
    processes: int
    device: str
    seed: int
    muon_rate: float
    adam_rate: float
    constant: float
    report_every: float


Batch = list[list[Tensor]]
"""Windows on the device, in parts of about equal length; each part is inputs and targets."""


class Candidate:
    """One network in training: its optimisers, the average of its weights and the best."""

    def __init__(self, width: int, plan: Plan) -> None:
        torch.manual_seed(plan.seed)
        self.width = width
        self.network = SproutNetwork(width).to(plan.device)
        self.averaged = SproutNetwork(width).to(plan.device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.averaged.requires_grad_(False)
        self.optimizers = Optimizers(self.network, plan.muon_rate, plan.adam_rate)
        self.best = float("inf")
        self.steps = 0
        self.skipped = 0

    def learn(self, batch: Batch, share: float) -> Tensor:
        """Take one step, and give the loss before it."""
        warm = min(1.0, (self.steps + 1) / _WARM_UP_STEPS)
        count = sum(len(part[-1]) for part in batch)
        means = []
        for part in batch:
            mean = loss(self.network, part).sum() / count
            torch.autograd.backward(mean)
            means.append(mean.detach())
        if not self.optimizers.step(share * warm):
            self.skipped += 1
        self.steps += 1
        kept = min(_AVERAGE, self.steps / (self.steps + 10))
        ours: list[Tensor] = list(self.averaged.parameters())
        theirs: list[Tensor] = list(self.network.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(ours, theirs, 1 - kept)
        return torch.stack(means).sum()

    def validate(self, kept_back: Batch, out: Path) -> float:
        """Measure the averaged weights on the windows kept back; save them if they are the best."""
        with torch.no_grad():
            found = float(torch.cat([loss(self.averaged, part) for part in kept_back]).mean())
        if found < self.best:
            self.best = found
            weights = to_arrays(self.averaged)
            weights["stretch"] = stretch(self.averaged, kept_back).cpu().numpy()
            target = out / f"sprout-{self.width}.safetensors"
            save_file(weights, target.with_suffix(".draft"))
            target.with_suffix(".draft").replace(target)
        return found

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "best": self.best,
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.best, self.steps = state["best"], state["steps"]


@torch.no_grad()
def stretch(network: SproutNetwork, kept_back: Batch) -> Tensor:
    """Find by what to stretch the outer interval for it to hold each of the coverages [5].

    The loss, clipped softly, makes it too narrow: it hardly counts the worst windows. Some is
    added for series that are less regular than simulated ones.
    """
    shares, counted = [], []
    for *inputs, targets, weights in kept_back:
        found = network(*inputs)
        middle = found[:, LEVELS.index(0.5)]
        width = torch.where(targets > middle, found[:, -1] - middle, middle - found[:, 0])
        shares.append(((targets - middle).abs() / width.clamp(min=1e-9))[weights > 0])
        counted.append(weights[weights > 0])
    ordered, order = torch.cat(shares).sort()
    counts = torch.cat(counted)[order].cumsum(dim=0)
    promised = torch.tensor(COVERAGES, device=counts.device) * counts[-1]
    return ordered[torch.searchsorted(counts, promised)] * network.stretch[0] * _WILDER


def tensors(rows: Rows, device: str) -> Batch:
    """Bring packed windows to the device, in single precision."""
    size = _PART_ON_CPU if device == "cpu" else len(rows)
    return [tensors_of(windows, device) for windows in unpacked(rows).parts(size)]


def batches(producer: Producer, plan: Plan) -> Iterator[Batch]:
    """Give batches on the device, read ahead by a thread."""
    ready: queue.Queue[Batch] = queue.Queue(maxsize=4)

    def read() -> None:
        while True:
            rows = producer.take(-(-plan.batch // PART))
            for some in np.split(rows, range(plan.batch, len(rows), plan.batch)):
                ready.put(tensors(some, plan.device))

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield ready.get()


def pretrain(plan: Plan) -> None:
    """Train every candidate until the windows or the time are used up."""
    plan.out.mkdir(parents=True, exist_ok=True)
    state_file = plan.out / "state.pt"
    state = torch.load(state_file, weights_only=True) if state_file.exists() else None
    done = int(state["windows"]) if state else 0
    with producing(plan.processes, plan.seed, done // PART) as producer:
        candidates = [Candidate(width, plan) for width in plan.widths]
        if state is not None:
            for candidate in candidates:
                candidate.load_state_dict(state["candidates"][str(candidate.width)])
        _Training(plan, candidates, done).run(producer)


class _Training:
    """The loop, with its clock and its reports."""

    def __init__(self, plan: Plan, candidates: list[Candidate], done: int) -> None:
        self._plan, self._candidates, self._done = plan, candidates, done
        self._started = self._reported = time.monotonic()
        size = _VALIDATION_WINDOWS
        kept_back = (
            packed(training_windows(np.random.default_rng((VALIDATION_SEED, part)), size))
            for part in range(_VALIDATION_PARTS)
        )
        self._kept_back = [part for rows in kept_back for part in tensors(rows, plan.device)]

    def run(self, producer: Producer) -> None:
        losses = []
        for batch in batches(producer, self._plan):
            share = self._share()
            losses.append([candidate.learn(batch, share) for candidate in self._candidates])
            self._done += self._plan.batch
            ends = self._progress() >= 1
            if ends or time.monotonic() - self._reported > self._plan.report_every:
                self._report(torch.tensor(losses).mean(dim=0).tolist(), share)
                losses = []
            if ends:
                return

    def _progress(self) -> float:
        minutes = (time.monotonic() - self._started) / 60
        return max(self._done / self._plan.windows, minutes / self._plan.minutes)

    def _share(self) -> float:
        """Give the share of the learning rates: constant, then falling in a line."""
        left = (1 - self._progress()) / (1 - self._plan.constant)
        return max(_FINAL_SHARE, min(1.0, left))

    def _report(self, losses: list[float], share: float) -> None:
        self._reported = time.monotonic()
        line = {
            "windows": self._done,
            "seconds": round(self._reported - self._started),
            "rate": round(share, 4),
        }
        for candidate, mean in zip(self._candidates, losses, strict=True):
            line[f"loss_{candidate.width}"] = round(mean, 5)
            found = candidate.validate(self._kept_back, self._plan.out)
            line[f"validation_{candidate.width}"] = round(found, 5)
            line[f"skipped_{candidate.width}"] = candidate.skipped
        with (self._plan.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)  # noqa: T201 -- a command's answer
        candidates = {str(one.width): one.state_dict() for one in self._candidates}
        state = self._plan.out / "state.pt"
        torch.save({"windows": self._done, "candidates": candidates}, state.with_suffix(".draft"))
        state.with_suffix(".draft").replace(state)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--widths", type=int, nargs="+", default=[64])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--processes", type=int, default=max(1, cores() - 1))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--muon-rate", type=float, default=0.01)
    parser.add_argument("--adam-rate", type=float, default=0.002)
    parser.add_argument("--constant", type=float, default=0.4)
    parser.add_argument("--report-every", type=float, default=60)
    given = vars(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the processes that simulate
    torch.set_float32_matmul_precision("high")
    pretrain(Plan(**given | {"widths": tuple(given["widths"])}))


if __name__ == "__main__":
    main()
