"""Training in several processes, one per device, that `torchrun` starts."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import distributed, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from forecast.core.errors import BackendUnavailable, InvalidRequest, MissingLibrary
from forecast.models.base.config import DistributedConfig, TrainingConfig
from forecast.models.base.torch.device import full_tensor
from forecast.models.base.torch.training import Optimization

HOW_TO_START = "torchrun --nproc-per-node <processes> <script>"


@contextmanager
def process_group(config: DistributedConfig, device: str) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, and leave the group at the end.

    If this process is in a group already, that one is used and not left: put this around a whole
    script to know the rank of the process after the training too.

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


@contextmanager
def strategy_for(
    config: TrainingConfig, device: str, *, with_checkpoints: bool
) -> Iterator["Strategy"]:
    """Join the process group that a configuration asks for; without one, train alone.

    Raises:
        InvalidRequest: the strategy keeps no checkpoints, or there is no group to join.
        BackendUnavailable: the machine has fewer devices than processes.
    """
    asked = config.distributed
    if asked is None:
        yield Alone(config, torch.device(device))
        return
    strategy = STRATEGIES[asked.strategy]
    if with_checkpoints and not strategy.keeps_checkpoints:
        raise InvalidRequest.field(
            "/distributed/strategy", f"{asked.strategy} keeps no checkpoints; leave them out"
        )
    with process_group(asked, device) as own:
        used = strategy(config, own)
        try:
            yield used
        finally:
            used.release()


class Strategy(ABC):
    """How the processes of a group train one network together.

    Every process runs the same script on the same data, takes its part of the windows, and ends
    with the same full weights. `config.batch_size` counts the windows of one process.
    """

    keeps_checkpoints: ClassVar[bool] = True

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self._config = config
        self.device = device

    @abstractmethod
    def wrap(self, network: nn.Module) -> nn.Module:
        """Prepare a network, equal in every process, for training."""

    def optimization(self) -> Optimization | None:
        """Return what takes the steps, where the strategy brings its own."""
        return None

    @abstractmethod
    def unwrap(self, network: nn.Module) -> nn.Module:
        """Return the full network in every process."""

    def release(self) -> None:  # noqa: B027 -- most have nothing to release
        """Free what is held of the group, before it is left."""


class Alone(Strategy):
    """Trains in this process only."""

    def wrap(self, network: nn.Module) -> nn.Module:
        return network

    def unwrap(self, network: nn.Module) -> nn.Module:
        return network


class DataParallel(Strategy):
    """A copy of the network in each process; gradients are averaged (`ddp`)."""

    _wrapped: nn.Module | None = None

    def wrap(self, network: nn.Module) -> nn.Module:
        self._wrapped = DistributedDataParallel(
            network,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            forward_sync_buffers=False,  # the loop does that, when a pass is over
            static_graph=True,  # so that weights which the loss does not use may be there
        )
        return self._wrapped

    def unwrap(self, network: nn.Module) -> nn.Module:
        plain: nn.Module = network.module  # type: ignore[assignment]
        return plain

    def release(self) -> None:
        """Free what torch keeps of the group outside Python.

        The last of it waits for the threads of the group while it holds the interpreter's lock,
        and one of those threads may be waiting for that lock: a deadlock.
        """
        held = vars(self._wrapped) if self._wrapped else {}
        for name in ("reducer", "logger"):
            held.pop(name, None)


class FullyShardedDataParallel(Strategy):
    """Each process keeps a shard of every weight, gradient and moment (`fsdp`).

    A block of layers is gathered while it computes. Zhao et al. 2023, arXiv:2304.11277. The
    network it started from stays in the memory of the machine and receives what was learned.
    """

    def wrap(self, network: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (distributed.get_world_size(),))
        self._full = network.cpu()
        wrapped = deepcopy(self._full)
        for block in [*_blocks(wrapped), wrapped]:
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        return wrapped

    def unwrap(self, network: nn.Module) -> nn.Module:
        self._full.load_state_dict(
            {name: full_tensor(tensor) for name, tensor in network.state_dict().items()}
        )
        return self._full.to(self.device)


class DeepSpeed(Strategy):
    """Each process keeps a shard of gradients and moments: ZeRO stage 2 of DeepSpeed.

    Rajbhandari et al. 2020, arXiv:1910.02054. The full weights are in every process.
    """

    keeps_checkpoints = False

    def wrap(self, network: nn.Module) -> nn.Module:
        deepspeed = _deepspeed()
        steps = Optimization(network, self._config)
        engine, *_ = deepspeed.initialize(
            model=network,
            optimizer=steps.optimizer,
            dist_init_required=False,
            config={
                "train_micro_batch_size_per_gpu": self._config.batch_size,
                "gradient_clipping": self._config.gradient_clip or 0.0,
                "zero_optimization": {"stage": 2},
            },
        )
        self._steps = _EngineSteps(engine, steps)
        wrapped: nn.Module = engine
        return wrapped

    def optimization(self) -> Optimization:
        return self._steps

    def unwrap(self, network: nn.Module) -> nn.Module:
        plain: nn.Module = network.module  # type: ignore[assignment]
        return plain


class _EngineSteps(Optimization):
    """Leaves the gradient and the step to an engine of DeepSpeed; the schedule stays ours."""

    def __init__(self, engine: Any, steps: Optimization) -> None:
        self.__dict__.update(steps.__dict__)
        self._engine = engine

    def step(self, loss: torch.Tensor) -> None:
        self._engine.backward(loss)
        self._engine.step()
        self._schedule.step()


STRATEGIES: dict[str, type[Strategy]] = {
    "ddp": DataParallel,
    "fsdp": FullyShardedDataParallel,
    "deepspeed": DeepSpeed,
}


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Find the layers of a network: the members of its outermost lists of modules."""
    found: list[nn.Module] = []
    for child in network.children():
        if not isinstance(child, nn.ModuleList):
            found += _blocks(child)
        elif all(_is_called(block) for block in child):
            found += child
    return found


def _is_called(block: nn.Module) -> bool:
    """Whether it has weights, and a forward that is the way to use them."""
    has_forward = type(block).forward is not nn.Module.forward
    return has_forward and any(True for _ in block.parameters())


def _deepspeed() -> ModuleType:
    try:
        import deepspeed
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"the strategy deepspeed needs {error.name}, which is not installed; install it with:"
            " pip install deepspeed, or choose fsdp, which comes with torch"
        ) from error
    module: ModuleType = deepspeed
    return module


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
