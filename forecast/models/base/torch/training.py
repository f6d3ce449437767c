"""The training loop of every torch network, and the optimiser it steps with."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from forecast.core.errors import TrainingFailed
from forecast.models.base.config import TrainingConfig, TrainingMode
from forecast.models.base.saved import (
    OnProgress,
    Progress,
    TrainingLength,
    TrainingResult,
)
from forecast.models.base.torch.checkpoints import CheckpointFolder, Checkpoints, identity_of
from forecast.models.base.torch.device import (
    any_rank,
    average,
    broadcast_from_rank_0,
    full_tensor,
    gathered,
    random_states,
    rank,
    seeded,
    set_random_states,
    shard_like,
    world_size,
)
from forecast.models.base.windows import WindowBatch, Windows

_REPORT_EVERY = 50  # steps
_SAVE_EVERY = 500  # steps, a multiple of the above, and after each pass

Loss = Callable[[nn.Module, "Batch"], torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A `WindowBatch` as tensors on the device of the network; the same names and shapes."""

    past: torch.Tensor
    past_observed: torch.Tensor
    future: torch.Tensor
    future_observed: torch.Tensor
    past_covariates: torch.Tensor
    future_covariates: torch.Tensor
    series: torch.Tensor

    @classmethod
    def of(cls, windows: WindowBatch, device: torch.device) -> "Batch":
        """Move windows to a device."""
        return cls(
            *(
                torch.from_numpy(np.ascontiguousarray(getattr(windows, name))).to(device)
                for name in cls.__slots__
            )
        )


class Optimization:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) on the weights that are trained."""

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self._config = config
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._schedule = self._plan(steps=1)

    def plan(self, steps: int) -> None:
        """Lay the schedule out over a number of steps, before the first of them."""
        self._schedule = self._plan(steps)

    def _plan(self, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate(self._config, steps))

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, loss: torch.Tensor) -> None:
        """Go one step down the gradient of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        if self._config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self._config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._schedule.step()

    def finish(self) -> None:
        """Set the weights to keep, after the last step."""

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, sharded tensors gathered."""
        document = self.optimizer.state_dict()
        moments = {
            number: {name: full_tensor(value) for name, value in of_weight.items()}
            for number, of_weight in document["state"].items()
        }
        return {"optimizer": document | {"state": moments}, "schedule": self._schedule.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        document = state["optimizer"]
        moments = {
            number: {
                name: shard_like(self.weights[number], value) for name, value in of_weight.items()
            }
            for number, of_weight in document["state"].items()
        }
        self.optimizer.load_state_dict(document | {"state": moments})
        self._schedule.load_state_dict(state["schedule"])


def rate(config: TrainingConfig, steps: int) -> Callable[[int], float]:
    """Give the share of the learning rate that each step takes, counted from 0."""
    warmup = config.warmup_steps

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if config.learning_rate_schedule == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return share


@dataclass(slots=True)
class _State:
    """Where the training is; all of it goes into a checkpoint.

    Attributes:
        epoch: passes that are over.
        batch: batches of the pass under way that are over.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    passes_without_better: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


class Training:
    """Trains a network in place, and leaves it with the best weights.

    The same seed, data and configuration give the same weights on the same kind of machine;
    so does a training that was interrupted and resumed from its checkpoint.

    Args:
        loss_of: the mean loss of a batch, from a forward of the network it is given.
        validation: decides which weights are the best, those of the start among them where they
            are fine-tuned; without it the last ones are.
        checkpoints: where they go; the newest that lies there is resumed.
        optimization: takes the steps; None for one of this network and configuration.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_of: Loss,
        config: TrainingConfig,
        *,
        validation: Windows | None = None,
        checkpoints: CheckpointFolder | None = None,
        optimization: Optimization | None = None,
    ) -> None:
        self._network = network
        self._plain = network.module if isinstance(network, DistributedDataParallel) else network
        self._loss_of = loss_of
        self._config = config
        self._validation = validation
        self._checkpoints = checkpoints
        self._optimization = optimization or Optimization(network, config)
        self._device = next(network.parameters()).device
        self._state = _State()

    @property
    def _weights(self) -> dict[str, torch.Tensor]:
        """Everything that training changes: trained weights, and the buffers they belong to.

        The averages of a batch normalisation are such buffers.
        """
        return {
            name: tensor
            for name, tensor in self._plain.state_dict(keep_vars=True).items()
            if isinstance(tensor, torch.Tensor)
            and (tensor.requires_grad or not isinstance(tensor, nn.Parameter))
        }

    def run(
        self, windows: Windows, on_progress: OnProgress, length: TrainingLength | None = None
    ) -> TrainingResult:
        """Train until an end is reached.

        Args:
            length: steps to take, in place of those that the configuration asks for.

        Raises:
            TrainingFailed: a loss or a weight is not finite; what was learned is worthless.
            InvalidRequest: the checkpoint belongs to another training.
        """
        planned = self._steps(windows) if length is None else length.planned
        steps = planned if length is None else length.steps
        self._optimization.plan(planned)
        checkpoints = self._checkpoints_of(windows)
        with seeded(self._config.seed + rank(), self._device):
            self._resume(checkpoints)
            if self._state.step == 0 and self._config.training_mode is TrainingMode.FINE_TUNE:
                self._validate()  # to keep the weights it starts from if none are better
            while self._state.step < steps and not self._is_patience_over():
                if not self._pass(windows, steps, on_progress, checkpoints):
                    break
        self._optimization.finish()
        self._restore_best()
        self._check_weights()
        self._network.eval()
        state = self._state
        kept = state.best_step if state.best_weights else state.step
        return TrainingResult(
            history=tuple(state.history),
            best_metrics=self._best_metrics(),
            length=TrainingLength(steps=kept, planned=planned),
        )

    def _steps(self, windows: Windows) -> int:
        config = self._config
        a_pass = windows.count_batches(config.batch_size, world_size())
        ends = [config.max_steps, config.max_epochs and config.max_epochs * a_pass]
        return min(end for end in ends if end is not None)

    def _is_patience_over(self) -> bool:
        patience = self._config.early_stopping
        return patience is not None and self._state.passes_without_better >= patience

    # One pass over the windows

    def _pass(
        self, windows: Windows, steps: int, on_progress: OnProgress, checkpoints: Checkpoints
    ) -> bool:
        """Go over all windows once, or what is left of them; False where somebody wants to end."""
        losses: list[float] = []
        for batch in self._batches(windows):
            losses.append(self._step(batch))
            self._state.step += 1
            self._state.batch += 1
            if self._state.step >= steps:
                break
            if self._state.step % _REPORT_EVERY == 0 and not self._report(
                on_progress, steps, losses
            ):
                self._save(checkpoints)  # before the rest of the pass, for who goes on with it
                self._validate()
                return False
            if self._state.step % _SAVE_EVERY == 0:
                self._save(checkpoints)
        self._state.epoch += 1
        self._state.batch = 0
        validation_loss = self._validate()
        goes_on = self._report(on_progress, steps, losses, validation_loss)
        self._save(checkpoints)
        return goes_on

    def _batches(self, windows: Windows) -> Iterator[Batch]:
        state = self._state
        rng = np.random.default_rng([self._config.seed, state.epoch])
        share = (rank(), world_size())
        size = self._config.batch_size
        for batch in windows.batches(size, rng, share=share, skip=state.batch):
            yield Batch.of(batch, self._device)

    def _step(self, batch: Batch) -> float:
        self._network.train()
        with self._precision():
            loss = self._loss_of(self._network, batch)
        value = average(loss.item(), self._device)
        self._check_loss(value, "loss")
        self._optimization.step(loss)
        return value

    def _precision(self) -> Any:
        if self._config.use_mixed_precision and self._device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Measure the loss over the validation windows, and keep the weights if it is better."""
        self._agree_on_buffers()
        if self._validation is None:
            return None
        self._network.eval()
        total = count = 0.0
        share = (rank(), world_size())
        for windows in self._validation.batches(self._config.batch_size, share=share):
            batch = Batch.of(windows, self._device)
            with self._precision():
                total += self._loss_of(self._network, batch).item() * len(batch.past)
            count += len(batch.past)
        loss = average(total / count, self._device)
        self._check_loss(loss, "validation loss")
        self._keep_if_better(loss)
        return loss

    def _agree_on_buffers(self) -> None:
        """Give every process the buffers of the first: each has seen windows of its own."""
        buffers = [one for one in self._weights.values() if not isinstance(one, nn.Parameter)]
        broadcast_from_rank_0([one for one in buffers if one.is_floating_point()])

    def _check_loss(self, loss: float, name: str) -> None:
        if not math.isfinite(loss):
            raise TrainingFailed(
                f"the {name} is {loss} at step {self._state.step + 1}; try a lower"
                " learning_rate, and look for extreme values in the data"
            )

    @torch.no_grad()
    def _check_weights(self) -> None:
        spoilt = any(not tensor.isfinite().all() for tensor in self._weights.values())
        if any_rank(spoilt, self._device):
            raise TrainingFailed("weights are not finite after the last step; see learning_rate")

    # The best weights

    def _keep_if_better(self, loss: float) -> None:
        state = self._state
        if loss < state.best_loss:
            state.best_loss, state.best_step, state.passes_without_better = loss, state.step, 0
            state.best_weights = self._copy_of_weights()
        else:
            state.passes_without_better += 1

    def _copy_of_weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def _restore_best(self) -> None:
        weights = self._weights
        for name, weight in self._state.best_weights.items():
            weights[name].copy_(weight)

    def _best_metrics(self) -> dict[str, float]:
        if self._validation is not None and self._state.best_weights:
            return {"validation_loss": self._state.best_loss}
        losses = [entry["loss"] for entry in self._state.history if "loss" in entry]
        return {"loss": losses[-1]} if losses else {}

    def _report(
        self,
        on_progress: OnProgress,
        steps: int,
        losses: list[float],
        validation_loss: float | None = None,
    ) -> bool:
        """Tell how it goes; every process ends if one is told to."""
        state = self._state
        progress = Progress(
            step=state.step,
            of=steps,
            epoch=state.epoch,
            loss=float(np.mean(losses)) if losses else None,
            validation_loss=validation_loss,
        )
        losses.clear()
        entry = progress.model_dump(exclude_none=True, exclude={"phase", "of"})
        state.history.append({name: float(value) for name, value in entry.items()})
        return not any_rank(on_progress(progress) is False, self._device)

    # Checkpoints

    def _checkpoints_of(self, windows: Windows) -> Checkpoints:
        if self._checkpoints is None:
            return Checkpoints(None, "")
        identity = identity_of(self._plain, self._config, windows, self._validation)
        return Checkpoints(self._checkpoints, identity)

    def _save(self, checkpoints: Checkpoints) -> None:
        if not checkpoints.is_kept:
            return
        now = self._state
        state = {name: getattr(now, name) for name in _State.__slots__}
        best = {name: full_tensor(weight) for name, weight in now.best_weights.items()}
        checkpoints.write(
            {
                "state": state | {"best_weights": best},
                "weights": {name: full_tensor(weight) for name, weight in self._weights.items()},
                "random": gathered(random_states(self._device)),
                **self._optimization.state(),
            },
            global_step=now.step,
            epoch=now.epoch,
            best_metric=now.best_loss if math.isfinite(now.best_loss) else None,
            random_states=("cpu", "cuda") if self._device.type == "cuda" else ("cpu",),
            optimizer=type(self._optimization).__name__,
        )

    @torch.no_grad()
    def _resume(self, checkpoints: Checkpoints) -> None:
        saved = checkpoints.read(self._device)
        if saved is None:
            return
        weights = self._weights
        for name, weight in saved["weights"].items():
            weights[name].copy_(shard_like(weights[name], weight))
        self._optimization.restore(saved)
        if rank() < len(saved["random"]):
            set_random_states(saved["random"][rank()], self._device)
        self._state = _State(**saved["state"])
        self._state.best_weights = {
            name: shard_like(weights[name], weight)
            for name, weight in self._state.best_weights.items()
        }
