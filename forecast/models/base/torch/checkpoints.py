"""The state of an unfinished training: numbered checkpoints that belong to one training.

Each is a pair: `step-00000500.pt` holds the tensors, and `step-00000500.json`, written last,
says what they are (`core.state.TrainingState`). The newest few are kept, so that a damaged one
is no loss.
"""

import hashlib
import logging
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from forecast.core.atomic import replacing, write_text
from forecast.core.errors import InvalidRequest
from forecast.core.state import TrainingState
from forecast.models.base.config import TrainingConfig
from forecast.models.base.torch.device import full_tensor, gathered, rank
from forecast.models.base.windows import Windows

log = logging.getLogger(__name__)

KEPT = 3
_FREE = {"device", "distributed", "max_epochs", "max_steps", "early_stopping"}
_SAMPLE = 256  # values of each weight
_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError)
# what torch and pydantic raise of a file that is cut off or changed


class CheckpointFolder(NamedTuple):
    """Where the checkpoints of one training go.

    Attributes:
        kept: how many of them stay, the newest.
    """

    path: Path
    kept: int = KEPT


class Checkpoints:
    """What a training is saved to; nothing is where no folder was given.

    Args:
        identity: of the training, by `identity_of`.
    """

    def __init__(self, folder: CheckpointFolder | None, identity: str) -> None:
        self._folder = folder.path if folder else None
        self._kept = max(1, folder.kept) if folder else 0
        self._identity = identity

    @property
    def is_kept(self) -> bool:
        """Whether anything is saved."""
        return self._folder is not None

    def write(self, tensors: dict[str, Any], **progress: Any) -> None:
        """Save where the training is; rank 0 alone does.

        Args:
            progress: of `TrainingState`: `global_step`, `epoch`, `best_metric`, …
        """
        if self._folder is None or rank() != 0:
            return
        stem = f"step-{progress['global_step']:08d}"
        state = TrainingState(state_file=f"{stem}.pt", identity=self._identity, **progress)
        with replacing(self._folder / state.state_file) as draft:
            torch.save(tensors | {"identity": self._identity}, draft)
        write_text(self._folder / f"{stem}.json", state.model_dump_json(indent=2) + "\n")
        for name in _names(self._folder)[self._kept :]:
            _remove(self._folder / name)

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """Give what was saved last and is sound; None where there is nothing to go on from.

        Raises:
            InvalidRequest: it belongs to another training, or not every process sees it.
        """
        if self._folder is None:
            return None
        names = _names(self._folder)
        if any(seen != names for seen in gathered(names)):
            raise InvalidRequest("the folder for checkpoints is not the same on every machine")
        for name in names:
            if (saved := self._sound(self._folder / name, device)) is not None:
                return saved
        return None

    def _sound(self, file: Path, device: torch.device) -> dict[str, Any] | None:
        """Load one checkpoint; a damaged one is removed, so that it is never the newest."""
        try:
            state = TrainingState.model_validate_json(file.read_bytes())
            saved: dict[str, Any] = torch.load(
                file.with_name(state.state_file), weights_only=True, map_location=device
            )
            identities = {state.identity, saved["identity"]}
        except torch.OutOfMemoryError:  # a RuntimeError too, and no fault of the file
            raise
        except _DAMAGED:
            log.warning("the checkpoint %s is damaged; the one before it is taken", file.stem)
            if rank() == 0:
                _remove(file)
            return None
        if identities != {self._identity}:
            raise InvalidRequest(
                "the folder for checkpoints holds another training, one of other data, options"
                " or first weights; name another folder"
            )
        return saved


def _names(folder: Path) -> list[str]:
    """Name the checkpoints that are there, the newest first."""
    return sorted((file.name for file in folder.glob("step-*.json")), reverse=True)


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)  # first, so that no state is without its tensors
    file.with_suffix(".pt").unlink(missing_ok=True)


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
        digest.update(str(full_tensor(weight.detach()).flatten()[:_SAMPLE].tolist()).encode())
    return digest.hexdigest()
