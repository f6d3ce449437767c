"""How a network is shared between the processes of a group while it is trained."""

from abc import ABC, abstractmethod
from copy import deepcopy
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from forecast.core.errors import MissingLibrary
from forecast.models.base.config import TrainingConfig
from forecast.models.base.optimization import Optimization
from forecast.models.base.ranks import whole


class Sharing(ABC):
    """How a network is shared between the processes of a group, for one training."""

    keeps_checkpoints: ClassVar[bool] = True

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config

    @abstractmethod
    def wrap(self, network: nn.Module) -> nn.Module:
        """Share a network, equal in every process."""

    def optimization(self, network: nn.Module) -> Optimization:
        """Choose what takes the steps of the wrapped network."""
        return Optimization(network, self._config)

    @abstractmethod
    def unwrap(self, network: nn.Module) -> nn.Module:
        """Give the whole network in every process."""

    def release(self) -> None:  # noqa: B027 -- most have nothing to release
        """Let go of the group, before it is left."""


class DataParallel(Sharing):
    """A copy of the network in each process; gradients are averaged (`ddp`)."""

    _wrapped: nn.Module | None = None

    def wrap(self, network: nn.Module) -> nn.Module:
        device = next(network.parameters()).device
        self._wrapped = DistributedDataParallel(
            network,
            device_ids=[device] if device.type == "cuda" else None,
            forward_sync_buffers=False,  # the loop does that, when a pass is over
            static_graph=True,  # so that weights which the loss does not use may be there
        )
        return self._wrapped

    def unwrap(self, network: nn.Module) -> nn.Module:
        plain: nn.Module = network.module  # type: ignore[assignment]
        return plain

    def release(self) -> None:
        """Free what torch keeps of the group outside Python.

        The last of it to go waits for the threads of the group while no other thread of
        Python can run, and one of those may be waiting to run: both would wait for ever.
        """
        held = vars(self._wrapped) if self._wrapped else {}
        for name in ("reducer", "logger"):
            held.pop(name, None)


class FullyShared(Sharing):
    """Each process keeps its part of every weight, gradient and moment (`fsdp`).

    A block of layers is put together when it is its turn. Zhao et al. 2023, arXiv:2304.11277.
    The network it started from waits in the memory of the machine for what was learned.
    """

    def wrap(self, network: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        device = next(network.parameters()).device
        mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
        self._device = device
        self._whole = network.cpu()
        wrapped = deepcopy(self._whole)
        for block in [*_blocks(wrapped), wrapped]:
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        return wrapped

    def unwrap(self, network: nn.Module) -> nn.Module:
        self._whole.load_state_dict(
            {name: whole(tensor) for name, tensor in network.state_dict().items()}
        )
        return self._whole.to(self._device)


class DeepSpeed(Sharing):
    """Each process keeps its part of gradients and moments: ZeRO stage 2 of DeepSpeed.

    Rajbhandari et al. 2020, arXiv:1910.02054. The weights themselves are in every process.
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

    def optimization(self, network: nn.Module) -> Optimization:  # noqa: ARG002 -- made with it
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


SHARINGS: dict[str, type[Sharing]] = {
    "ddp": DataParallel,
    "fsdp": FullyShared,
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
