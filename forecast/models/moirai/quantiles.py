"""Moirai 2: a decoder that forecasts quantiles, several patches at a time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import context_bucket, in_buckets, rounded_up
from forecast.models.moirai.inputs import Inputs, inputs_of_windows
from forecast.models.moirai.library import Moirai2Forecast
from forecast.models.moirai.network import Network
from forecast.models.moirai.spec import LONGEST_CONTEXT


class Tokens(NamedTuple):
    """Patches as the network reads them, [B, L, .], in the order of its arguments."""

    target: torch.Tensor
    observed: torch.Tensor
    sample: torch.Tensor
    time: torch.Tensor
    variate: torch.Tensor
    is_ahead: torch.Tensor

    def per_quantile(self, count: int) -> "Tokens":
        """Repeat all for each quantile: [B, Q, L, .]."""
        return Tokens(*(one[:, None].repeat_interleave(count, dim=1) for one in self))


class QuantileNetwork(Network):
    """A Moirai 2 checkpoint.

    What lies beyond the first block is forecast from the quantiles of the block before: each
    goes on as if it had come true, and the quantiles of all that follows from them are taken.
    So do the authors, whose own code does it for one channel only.
    """

    def __init__(self, module: Any, device: torch.device) -> None:
        super().__init__(module, device)
        self.levels = tuple(float(level) for level in module.quantile_levels)
        self.patch = int(module.patch_size)
        self.block = self.patch * int(module.num_predict_token)
        self.shared_block = self.block

    def patch_for(self, series: Series, task: ForecastTask) -> int:  # noqa: ARG002
        return self.patch

    def predict(
        self, batch: Sequence[Series], task: ForecastTask, batch_size: int
    ) -> list[Forecast]:
        return in_buckets(
            batch,
            lambda series: context_bucket(series.length, self.patch, LONGEST_CONTEXT),
            lambda some, steps: self._forecast(some, steps, task.horizon),
            self._at_once(batch, task, batch_size),
        )

    def _at_once(self, batch: Sequence[Series], task: ForecastTask, batch_size: int) -> int:
        """Count the series of a call: what it needs grows with the square of the tokens."""
        most = max((self.tokens_of(series, task) for series in batch), default=1)
        return max(1, min(batch_size, (LONGEST_CONTEXT // most) ** 2))

    def _forecast(self, batch: Sequence[Series], steps: int, horizon: int) -> list[Forecast]:
        inputs = Inputs.of(batch, steps, horizon, self.device)
        middle = int(np.abs(np.asarray(self.levels) - 0.5).argmin())
        quantiles = inputs.restored(self._unroll(inputs, horizon).double().cpu().numpy())
        return [Forecast(one[:, middle], one, self.levels) for one in quantiles]

    def _unroll(self, inputs: Inputs, horizon: int) -> torch.Tensor:
        """Forecast block by block: [B, C, Q, H]."""
        ahead = rounded_up(horizon, self.patch) // self.patch
        tokens = self._tokens(inputs, horizon)
        places = self._places(inputs, ahead)  # [C, ahead]
        answer = self._call(tokens, self._last(inputs))[..., :ahead, :, :]  # [B, C, n, Q, P]
        parts = [answer]
        done = answer.shape[-3]
        if done < ahead:
            tokens = tokens.per_quantile(len(self.levels))
        while done < ahead:
            written = places[:, done - parts[-1].shape[-3] : done]
            self._write(tokens, written, parts[-1])
            following = self._call(tokens, written[:, -1])[..., : ahead - done, :, :]
            parts.append(self._quantiles_of(following))
            done += parts[-1].shape[-3]
        return _in_order(torch.cat(parts, dim=-3))[..., :horizon]

    def _write(self, tokens: Tokens, places: torch.Tensor, answer: torch.Tensor) -> None:
        """Let each quantile come true: answers [B, C, n, Q, P] at places [C, n]."""
        values = answer.permute(0, 3, 1, 2, 4).flatten(2, 3)  # [B, Q, C * n, P]
        tokens.target[:, :, places.flatten()] = values
        tokens.is_ahead[:, :, places.flatten()] = False

    def _quantiles_of(self, following: torch.Tensor) -> torch.Tensor:
        """Take the quantiles of what follows from each quantile: [B, Q, C, n, Q, P] → one less."""
        mixed = following.movedim(1, -2).flatten(-3, -2)  # [B, C, n, Q * Q, P]
        levels = torch.tensor(self.levels, device=mixed.device)
        return torch.quantile(mixed, levels, dim=-2).movedim(0, -2)

    def _call(self, tokens: Tokens, places: torch.Tensor) -> torch.Tensor:
        """Read what the network says at one token of each channel: [..., C, N, Q, P]."""
        answer = self.module(*tokens, training_mode=False)
        return self._shaped(answer[..., places, :])

    def _shaped(self, answer: torch.Tensor) -> torch.Tensor:
        return answer.reshape(*answer.shape[:-1], -1, len(self.levels), self.patch)

    def _tokens(
        self, inputs: Inputs, horizon: int, future: dict[str, torch.Tensor] | None = None
    ) -> Tokens:
        layout = inputs.forecaster(Moirai2Forecast, self.module, horizon)
        return Tokens(*layout._convert(self.patch, **inputs.tensors, **(future or {})))

    def _last(self, inputs: Inputs) -> torch.Tensor:
        """Number the last token of each channel's context: [C]."""
        own = inputs.steps // self.patch
        return torch.arange(1, inputs.sizes.channels + 1, device=self.device) * own - 1

    def _places(self, inputs: Inputs, ahead: int) -> torch.Tensor:
        """Number the tokens of each channel's future: [C, n]."""
        channels = inputs.sizes.channels
        first = channels * inputs.steps // self.patch
        return first + torch.arange(channels * ahead, device=self.device).reshape(channels, ahead)

    # Training

    def training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Measure the first block by the pinball loss, in standard deviations of the context."""
        inputs = inputs_of_windows(batch, self.patch)
        horizon = batch.future.shape[-1]
        ahead = rounded_up(horizon, self.patch) // self.patch
        future = {
            "future_target": batch.future.transpose(1, 2),
            "future_observed_target": batch.future_observed.transpose(1, 2),
        }
        tokens = self._tokens(inputs, horizon, future)
        answer, standard = network(*tokens)
        told = _in_order(self._shaped(answer[:, self._last(inputs)])[..., :ahead, :, :])
        places = self._places(inputs, ahead)
        came = standard[:, places].flatten(2, 3)[:, :, None, :horizon]  # [B, C, 1, H]
        return self._pinball(came - told[..., :horizon], batch.future_observed[:, :, None])

    def _pinball(self, errors: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Average the loss of errors [B, C, Q, H] over what was observed [B, C, 1, H]."""
        levels = torch.tensor(self.levels, device=errors.device)[:, None]
        losses = torch.maximum(levels * errors, (levels - 1) * errors)
        counted = observed.expand_as(losses)
        return torch.where(counted, losses, 0.0).sum() / counted.sum().clamp_min(1)


def _in_order(answer: torch.Tensor) -> torch.Tensor:
    """Lay patches end to end: [B, C, n, Q, P] → [B, C, Q, n * P]."""
    return answer.movedim(-2, -3).flatten(-2)
