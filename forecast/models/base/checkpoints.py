"""The state of an unfinished training: one file, replaced whole, that belongs to one training."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forecast.core.atomic import replacing
from forecast.core.errors import BadData, InvalidRequest
from forecast.models.base.config import TrainingConfig
from forecast.models.base.ranks import gathered, rank, whole
from forecast.models.base.windows import Windows

CHECKPOINT_FILE = "checkpoint.pt"
_FREE = {"device", "distributed", "max_epochs", "max_steps", "early_stopping"}
_SAMPLE = 256  # values of each weight


class Checkpoint:
    """Where a training is saved; nothing is where no folder was given.

    Args:
        identity: of the training, by `identity_of`.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        self._file = None if folder is None else folder / CHECKPOINT_FILE
        self._identity = identity

    @property
    def is_kept(self) -> bool:
        """Whether anything is saved."""
        return self._file is not None

    def write(self, document: dict[str, Any]) -> None:
        """Replace what is there; rank 0 alone does."""
        if self._file is None or rank() != 0:
            return
        with replacing(self._file) as draft:
            torch.save(document | {"identity": self._identity}, draft)

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """Give what was saved last; None where nothing was.

        Raises:
            InvalidRequest: it belongs to another training, or not every process sees it.
            BadData: the file is damaged.
        """
        if self._file is None:
            return None
        seen = gathered(self._file.is_file())
        if not any(seen):
            return None
        if not all(seen):
            raise InvalidRequest("the folder for checkpoints is not the same on every machine")
        try:
            saved: dict[str, Any] = torch.load(self._file, weights_only=True, map_location=device)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise BadData("the checkpoint of the training is damaged; remove it") from error
        if saved.get("identity") != self._identity:
            raise InvalidRequest(
                "the folder for checkpoints holds another training, one of other data, options"
                " or first weights; name another folder"
            )
        return saved


def identity_of(
    network: nn.Module, config: TrainingConfig, windows: Windows, validation: Windows | None
) -> str:
    """Hash what a training starts from: equal starts, equal ends.

    Left out is what may change before it goes on: where it runs, and when it ends.
    """
    digest = hashlib.sha256(type(config).__name__.encode())
    digest.update(config.model_dump_json(exclude=_FREE).encode())
    digest.update(windows.sha256.encode())
    digest.update(validation.sha256.encode() if validation else b"")
    for name, weight in network.named_parameters():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(str(whole(weight.detach()).flatten()[:_SAMPLE].tolist()).encode())
    return digest.hexdigest()
