"""What each of two processes does when `torchrun` starts it: see test_parallel.py.

Every scenario is a training of its own, with a group of its own. What it ends with is
written to `<folder>/<scenario>.<rank>.pt`.
"""

import faulthandler
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from forecast.core.errors import ForecastError
from forecast.core.types import Series
from forecast.models.base.config import DistributedConfig, LoraConfig
from forecast.models.base.saved import Progress
from forecast.models.base.torch.device import rank
from forecast.models.base.torch.parallel import process_group
from tests.models.base.linear_model import LinearConfig, LinearModel, waves, weights_of

FOLDER = Path(sys.argv[1] if __name__ == "__main__" else "")
RANK = int(os.environ.get("RANK", "0"))
DDP = DistributedConfig(timeout_s=60)
FSDP = DistributedConfig(strategy="fsdp", timeout_s=60)
LORA = LoraConfig(rank=2, target_modules=("encoder",), modules_to_save=("head",))


class SharedModel(LinearModel):
    spec = replace(LinearModel.spec, distributed=True)


class SpoiltModel(SharedModel):
    """Finds no loss in the second process, at the third step."""

    steps = 0

    def _training_loss(self, network, batch):
        self.steps += 1
        loss = super()._training_loss(network, batch)
        return loss * float("nan") if self.steps == 3 and RANK == 1 else loss


class Interrupted(Exception):
    pass


def interrupting(progress: Progress) -> None:
    if progress.epoch == 3:
        raise Interrupted


def plain(shared: DistributedConfig, **options: Any) -> SharedModel:
    """Without anything that depends on how the windows are shared out."""
    options = {"use_norm": False, "batch_size": 8, "max_epochs": 4} | options
    return SharedModel(LinearConfig(distributed=shared, device="cpu", **options))


def uneven(shared: DistributedConfig, **options: Any) -> SharedModel:
    """With everything that does, on a number of windows that two processes cannot halve."""
    options = {"dropout": 0.2, "batch_size": 8, "max_epochs": 6, "early_stopping": 3} | options
    return SharedModel(LinearConfig(distributed=shared, device="cpu", **options))


def adapted(shared: DistributedConfig) -> SharedModel:
    model = uneven(shared, lora=LORA)
    model.model_ = LinearModel.tiny().model_
    return model


def data(windows: int) -> tuple[list[Series], list[Series]]:
    """Three times as many windows to train on, and 20 or 21 to choose by."""
    return waves(3, length=19 + windows), waves(1, length=39 + windows % 2, seed=9)


def learned(model: SharedModel, windows: int = 81, **options: Any) -> dict[str, Any]:
    model.fit(*data(windows), **options)
    return outcome(model)


def outcome(model: SharedModel) -> dict[str, Any]:
    return {
        "weights": weights_of(model),
        "types": type(model.network).__name__,
        "trainable": all(weight.requires_grad for weight in model.network.parameters()),
        "history": list(model.training_history_),
        "left": not distributed.is_initialized(),
    }


def resumed(shared: DistributedConfig, name: str) -> dict[str, Any]:
    folder = FOLDER / f"checkpoints-{name}"
    with suppress(Interrupted):
        learned(uneven(shared), checkpoints=folder, on_progress=interrupting)
    return learned(uneven(shared), checkpoints=folder)


def refused(model: SharedModel, **options: Any) -> dict[str, Any]:
    try:
        model.fit(*data(81), **options)
    except ForecastError as error:
        told = f"{type(error).__name__}: {error}"
        return {"error": told, "left": not distributed.is_initialized()}
    return {"error": None}


def stopped_by_the_second() -> dict[str, Any]:
    def callback(progress: Progress) -> bool:
        return not (RANK == 1 and progress.epoch == 2)

    return learned(uneven(DDP), on_progress=callback)


def only_the_first_writes() -> dict[str, Any]:
    folder = FOLDER / f"of-rank-{RANK}"
    found = learned(plain(DDP), checkpoints=folder)
    return found | {"wrote": folder.exists(), **refused(plain(DDP), checkpoints=folder)}


def within_a_group_of_the_script() -> dict[str, Any]:
    model = plain(DDP)
    with process_group(DDP, "cpu") as device:
        found = learned(model, windows=80)
        found |= {"ranks": rank(), "device": str(device)}
    return found | {"left": not distributed.is_initialized()}


SCENARIOS = {
    "ddp": lambda: learned(plain(DDP), windows=80),
    "fsdp": lambda: learned(plain(FSDP), windows=80),
    "ddp-uneven": lambda: learned(uneven(DDP)),
    "fsdp-uneven": lambda: learned(uneven(FSDP)),
    "ddp-lora": lambda: learned(adapted(DDP)),
    "fsdp-lora": lambda: learned(adapted(FSDP)),
    "ddp-resumed": lambda: resumed(DDP, "ddp"),
    "fsdp-resumed": lambda: resumed(FSDP, "fsdp"),
    "spoilt": lambda: refused(SpoiltModel(LinearConfig(distributed=DDP, device="cpu"))),
    "stopped": stopped_by_the_second,
    "first-writes": only_the_first_writes,
    "own-group": within_a_group_of_the_script,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(200, exit=True)  # one that hangs says where
    for name in sys.argv[2:] or SCENARIOS:
        scenario = SCENARIOS[name]
        torch.save(scenario(), FOLDER / f"{name}.{RANK}.pt")
