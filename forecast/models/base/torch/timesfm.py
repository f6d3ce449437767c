"""Fine-tuning of both TimesFM, through their ports to `transformers`."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from forecast.core.errors import InvalidRequest
from forecast.core.types import Series
from forecast.models.base.config import TuningConfig
from forecast.models.base.scaling import Scaler, standardised
from forecast.models.base.torch.model import TunedModel
from forecast.models.base.torch.network_model import Block, filled, joint_loss
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import Windows, rounded_up

BLOCK = 128  # steps forecast at once
PATCH = 32
_LONGEST_CONTEXT = 2048  # of a training window, where none is set


class TunedTimesFM(TunedModel):
    """Trains all ten heads, the mean and the nine deciles, on windows of every length.

    The loss is that of the authors, squared errors of the mean and the pinball loss of the
    deciles, but in units of each window's own standard deviation: the port of 2.0 weighs series
    by their size, and that of 2.5 pairs the deciles with the wrong heads.
    """

    config: TuningConfig
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    levels: ClassVar[tuple[float, ...]] = tuple(decile / 10 for decile in range(1, 10))

    @abstractmethod
    def _heads(
        self, network: nn.Module, pasts: Sequence[torch.Tensor], context: int
    ) -> torch.Tensor:
        """Run the port on N pasts [T], padded to `context` steps: [N, 128, 10]."""

    def _own_levels(self) -> tuple[float, ...]:
        return self.levels

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        observed = batch.past_observed[:, 0]
        complete = filled(batch.past, batch.past_observed)[:, 0]
        begins = observed.int().argmax(dim=-1)
        pasts = [past[begin:] for past, begin in zip(complete, begins.tolist(), strict=True)]
        heads = self._heads(network, pasts, rounded_up(complete.shape[-1], PATCH))
        heads = heads[:, : batch.future.shape[-1]].transpose(1, 2)  # [B, 10, H]
        scaler = Scaler.of(batch.past[:, 0], batch.past_observed[:, 0])  # [B, 1]
        relative = scaler.apply(heads.flatten(1)).float().view_as(heads)
        return joint_loss(
            Block(relative[:, None, 0], relative[:, None, 1:]),
            scaler.apply(batch.future[:, 0]).float()[:, None],
            batch.future_observed,
            self.levels,
        )

    @property
    def training_horizon(self) -> int:
        return min(self.config.horizon or BLOCK, BLOCK)

    def _windows(self, series: Sequence[Series]) -> Windows:
        """Cut windows whose contexts begin at their series, or are as long as can be.

        Raises:
            InvalidRequest: a series comes with covariates.
        """
        if any(one.past_covariates for one in series):
            raise InvalidRequest(
                "this model learns from targets alone: covariates are regressed within each"
                " request, with nothing to learn before; leave them out"
            )
        horizon = self.training_horizon
        longest = max(one.length for one in series) - horizon
        most = min(self.max_context, self.config.context_length or _LONGEST_CONTEXT)
        return Windows(
            [standardised(one) for one in series],
            context_length=max(min(most, longest), 1),
            horizon=horizon,
            stride=self.config.stride,
            least_context=PATCH,
        )
