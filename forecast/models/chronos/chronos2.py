"""Chronos-2: several channels and covariates of a series attend to each other as a group."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from chronos.chronos2 import Chronos2Model

from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.scaling import Scaler, spread_warnings
from forecast.models.base.torch.training import Batch
from forecast.models.chronos.covariates import rows, training_rows
from forecast.models.chronos.network import Network, left_padded, median_of
from forecast.models.chronos.spec import SPEC


class Chronos2Network(Network):
    """An encoder over patches in time and over the rows of a group (amazon/chronos-2).

    The patches of the future attend to each other, so an answer depends on how many there
    are: horizons share a call only within one patch.
    """

    def __init__(self, module: Any) -> None:
        config = module.chronos_config
        self.module = module
        self.levels = tuple(config.quantiles)
        self.shared_block = config.output_patch_size
        self.block = config.max_output_patches * config.output_patch_size
        self.capabilities = replace(
            SPEC.capabilities, max_context=config.context_length, max_horizon=self.block
        )

    @staticmethod
    def module_class() -> Any:
        return Chronos2Model

    def predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        stacked = [rows(series, task.horizon) for series in batch]
        sizes = [len(past) for past, _ in stacked]
        context = left_padded([past for past, _ in stacked])  # [R, T]
        future = torch.from_numpy(np.concatenate([future for _, future in stacked]))  # [R, H]
        answer = self._forward(context, future, torch.tensor(sizes))
        quantiles = answer[..., : task.horizon].cpu().numpy()  # [R, Q, H]
        median = median_of(self.levels)
        forecasts = []
        for series, first in zip(batch, np.cumsum([0, *sizes]), strict=False):
            own = Scaler.of(series.target).restore(
                quantiles[first : first + series.num_channels]
            )  # [C, Q, H]
            warnings = spread_warnings(series)
            forecasts.append(Forecast(own[:, median], own, self.levels, warnings))
        return forecasts

    def loss(self, module: Any, batch: Batch) -> torch.Tensor:
        context, future, target = training_rows(batch)  # [B, R, .]
        windows, rows = context.shape[:2]
        groups = torch.arange(windows, device=context.device).repeat_interleave(rows)
        answer = module(
            context=context.flatten(0, 1),
            group_ids=groups,
            future_covariates=future.flatten(0, 1),
            future_target=target.flatten(0, 1),
            num_output_patches=-(-future.shape[-1] // self.shared_block),
        )
        loss: torch.Tensor = answer.loss
        return loss

    def _forward(
        self, context: torch.Tensor, future: torch.Tensor, sizes: torch.Tensor
    ) -> torch.Tensor:
        """Forecast every row: [R, Q, steps]; rows of one series are a group, never others."""
        device = self.module.device
        groups = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        answer: torch.Tensor = self.module(
            context=context.to(device),
            group_ids=groups.to(device),
            future_covariates=future.to(device),
            num_output_patches=-(-future.shape[1] // self.shared_block),
        ).quantile_preds
        return answer
