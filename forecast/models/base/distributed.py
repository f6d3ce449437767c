"""Training shared between processes, one a device, that `torchrun` starts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import distributed, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from forecast.core.errors import BackendUnavailable, InvalidRequest
from forecast.core.types import Series
from forecast.models.base.config import DistributedConfig
from forecast.models.base.lora import LoraMixin
from forecast.models.base.optimization import Optimization
from forecast.models.base.sharing import SHARINGS, Sharing
from forecast.models.base.torch_model import TorchModel
from forecast.models.base.training import OnProgress, TrainingResult

HOW_TO_START = "torchrun --nproc-per-node <processes> <script>"


@contextmanager
def process_group(config: DistributedConfig, device: str) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, and leave them in the end, come what may.

    A group that this process has joined already is used, and left to who joined it: set this
    around a whole script to know, after the training too, which process is the first.

    Args:
        device: `cpu`, or `cuda`: each process of a machine takes a device of its own.

    Yields:
        The device of this process.

    Raises:
        InvalidRequest: this process was not started as one of a group.
        BackendUnavailable: the machine has fewer devices than processes.
    """
    if distributed.is_initialized():
        yield _own_device(device)
        return
    _join(config, device)
    try:
        yield _own_device(device)
    finally:
        distributed.destroy_process_group()


class DistributedMixin(TorchModel):
    """Shares a training between processes where `config.distributed` asks for it.

    Every process runs the same script on the same data, takes its share of the windows, and
    ends with the same weights, whole. `config.batch_size` counts the windows of one process.
    It must come before `LoraMixin` among the base classes, so that what is shared is the
    network with its adapters: the other way round the processes drift apart without a word.
    """

    supports_distributed: ClassVar[bool] = True
    _sharing: Sharing | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        order = cls.__mro__
        if LoraMixin in order and order.index(LoraMixin) < order.index(DistributedMixin):
            raise TypeError(f"{cls.__name__} must name DistributedMixin before LoraMixin")

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,
        on_progress: OnProgress,
        checkpoints: Path | None,
    ) -> TrainingResult:
        config = self.config.distributed
        if config is None:
            return super()._fit(train, validation, on_progress, checkpoints)
        sharing = SHARINGS[config.strategy]
        if checkpoints is not None and not sharing.keeps_checkpoints:
            raise InvalidRequest.field(
                "/distributed/strategy", f"{config.strategy} keeps no checkpoints; leave them out"
            )
        with process_group(config, self.device) as device:
            self.device = str(device)
            self._sharing = sharing(self.config)
            try:
                return super()._fit(train, validation, on_progress, checkpoints)
            finally:
                self._sharing.release()
                self._sharing = None

    def _before_training(self, network: nn.Module) -> nn.Module:
        network = super()._before_training(network)
        return self._sharing.wrap(network) if self._sharing else network

    def _optimization(self, network: nn.Module) -> Optimization:
        if self._sharing:
            return self._sharing.optimization(network)
        return super()._optimization(network)

    def _after_training(self, network: nn.Module) -> nn.Module:
        if self._sharing:
            network = self._sharing.unwrap(network)
        return super()._after_training(network)


def _join(config: DistributedConfig, device: str) -> None:
    backend = config.backend or ("nccl" if device.startswith("cuda") else "gloo")
    try:
        store, rank, world_size = next(iter(rendezvous("env://")))
    except ValueError as error:  # what torch says when a variable is not set
        raise InvalidRequest(
            f"distributed training runs in processes that are started together: {HOW_TO_START};"
            " elsewhere leave out `distributed`"
        ) from error
    distributed.init_process_group(
        backend,
        store=PrefixStore(_name_of_group(store, world_size), store),
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=config.timeout_s),
    )


def _name_of_group(store: Store, world_size: int) -> str:
    """Name a group that these processes have not used before.

    The store outlives a group, and with it the addresses of its processes, which the next
    group would take for its own.
    """
    joined = store.add("forecast/joined", 1)  # by each process of each group, in turn
    return f"forecast/{(joined - 1) // world_size}"


def _own_device(device: str) -> torch.device:
    kind = device.partition(":")[0]
    if kind != "cuda":
        return torch.device(kind)
    number = distributed.get_node_local_rank(fallback_rank=distributed.get_rank())
    if number >= torch.cuda.device_count():
        raise BackendUnavailable(
            f"process {number} of this machine has no CUDA device of its own; there are"
            f" {torch.cuda.device_count()}: start as many processes, or ask for device cpu"
        )
    torch.cuda.set_device(number)
    return torch.device(kind, number)
