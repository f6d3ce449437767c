"""The one training loop of every torch network."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from forecast.core.atomic import replacing
from forecast.core.errors import TrainingFailed
from forecast.models.base.config import TrainingConfig
from forecast.models.base.ranks import any_says, average, rank, world_size
from forecast.models.base.training import OnProgress, Progress, TrainingResult
from forecast.models.base.windows import WindowBatch, Windows

CHECKPOINT_FILE = "checkpoint.pt"
_REPORT_EVERY = 50  # steps

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


@dataclass(slots=True)
class _State:
    """Where the training is; all of it but the network goes into a checkpoint."""

    epoch: int = 0
    step: int = 0
    best_loss: float = math.inf
    passes_without_better: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


class Training:
    """Trains a network in place, and leaves it with the best weights.

    The same seed, data and configuration give the same weights; so does a training that was
    interrupted and resumed from its checkpoint.

    Args:
        loss_of: the mean loss of a batch, from a forward of the network it is given.
        validation: decides which weights are the best; without it the last ones are.
        checkpoints: folder of the checkpoint; one that lies there is resumed.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_of: Loss,
        config: TrainingConfig,
        *,
        validation: Windows | None = None,
        checkpoints: Path | None = None,
    ) -> None:
        self._network = network
        self._loss_of = loss_of
        self._config = config
        self._validation = validation
        self._checkpoints = checkpoints
        self._device = next(network.parameters()).device
        self._state = _State()
        self._weights = {
            name: parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        }
        self._optimizer = torch.optim.AdamW(
            self._weights.values(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def run(self, windows: Windows, on_progress: OnProgress) -> TrainingResult:
        """Train until an end is reached.

        Raises:
            TrainingFailed: the loss is not finite; what was learned is worthless.
        """
        steps = self._steps(windows)
        schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, _rate(self._config, steps))
        with torch.random.fork_rng(devices=_cuda(self._device)):
            torch.manual_seed(self._config.seed + rank())
            self._resume(schedule)
            while self._state.step < steps and not self._is_patience_over():
                goes_on = self._pass(windows, schedule, steps, on_progress)
                self._save(schedule)
                if not goes_on:
                    break
        self._restore_best()
        self._network.eval()
        return TrainingResult(history=tuple(self._state.history), best_metrics=self._best_metrics())

    def _steps(self, windows: Windows) -> int:
        config = self._config
        a_pass = windows.count_batches(config.batch_size, world_size())
        ends = [config.max_steps, config.max_epochs and config.max_epochs * a_pass]
        return min(end for end in ends if end is not None)

    def _is_patience_over(self) -> bool:
        patience = self._config.early_stopping
        return patience is not None and self._state.passes_without_better >= patience

    def _pass(self, windows: Windows, schedule: Any, steps: int, on_progress: OnProgress) -> bool:
        """Go over all windows once; False where somebody wants to end."""
        state = self._state
        losses: list[float] = []
        goes_on = True
        for batch in self._batches(windows):
            losses.append(self._step(batch))
            schedule.step()
            state.step += 1
            if state.step % _REPORT_EVERY == 0:
                goes_on = self._report(on_progress, steps, losses)
            if state.step >= steps or not goes_on:
                break
        state.epoch += 1
        validation_loss = self._validate()
        return self._report(on_progress, steps, losses, validation_loss) and goes_on

    def _batches(self, windows: Windows) -> Iterator[Batch]:
        rng = np.random.default_rng([self._config.seed, self._state.epoch])
        share = (rank(), world_size())
        for batch in windows.batches(self._config.batch_size, rng, share=share):
            yield Batch.of(batch, self._device)

    def _step(self, batch: Batch) -> float:
        self._network.train()
        self._optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = self._loss_of(self._network, batch)
        value = average(loss.item(), self._device)
        if not math.isfinite(value):
            raise TrainingFailed(
                f"the loss is {value} at step {self._state.step + 1}; try a lower learning_rate,"
                " and look for extreme values in the data"
            )
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        if self._config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._weights.values(), self._config.gradient_clip)
        self._optimizer.step()
        return value

    def _precision(self) -> Any:
        if self._config.use_mixed_precision and self._device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Measure the loss over the validation windows, and keep the weights if it is better."""
        if self._validation is None:
            return None
        self._network.eval()
        total = count = 0.0
        for windows in self._validation.batches(
            self._config.batch_size, share=(rank(), world_size())
        ):
            batch = Batch.of(windows, self._device)
            with self._precision():
                total += self._loss_of(self._network, batch).item() * len(batch.past)
            count += len(batch.past)
        loss = average(total / count, self._device)
        self._keep_if_better(loss)
        return loss

    def _keep_if_better(self, loss: float) -> None:
        state = self._state
        if loss < state.best_loss:
            state.best_loss, state.passes_without_better = loss, 0
            state.best_weights = self._copy_of_weights()
        else:
            state.passes_without_better += 1

    def _copy_of_weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def _restore_best(self) -> None:
        for name, weight in self._state.best_weights.items():
            self._weights[name].copy_(weight)

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
        return not any_says(on_progress(progress) is False, self._device)

    def _save(self, schedule: Any) -> None:
        if self._checkpoints is None or rank() != 0:
            return
        state = self._state
        document = {
            "epoch": state.epoch,
            "step": state.step,
            "best_loss": state.best_loss,
            "passes_without_better": state.passes_without_better,
            "history": state.history,
            "best_weights": state.best_weights,
            "weights": self._copy_of_weights(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "random": torch.get_rng_state(),
        }
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        with replacing(self._checkpoints / CHECKPOINT_FILE) as draft:
            torch.save(document, draft)

    @torch.no_grad()
    def _resume(self, schedule: Any) -> None:
        if self._checkpoints is None or not (self._checkpoints / CHECKPOINT_FILE).exists():
            return
        saved = torch.load(
            self._checkpoints / CHECKPOINT_FILE, weights_only=True, map_location=self._device
        )
        for name, weight in saved["weights"].items():
            self._weights[name].copy_(weight)
        self._optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        torch.set_rng_state(saved["random"].cpu())
        names = ("epoch", "step", "best_loss", "passes_without_better", "history", "best_weights")
        self._state = _State(**{name: saved[name] for name in names})


def _rate(config: TrainingConfig, steps: int) -> Callable[[int], float]:
    """Give the share of the learning rate at each step."""
    warmup = config.warmup_steps

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if config.learning_rate_schedule == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return share


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
