"""Chronos-Bolt: nine quantiles of 64 steps in one forward, longer horizons block by block."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from chronos.chronos_bolt import ChronosBoltModelForForecasting

from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.scaling import spread_warnings
from forecast.models.base.torch.training import Batch
from forecast.models.chronos.network import (
    LONGEST_UNROLL,
    Network,
    float32,
    left_padded,
    median_of,
    with_gaps,
)
from forecast.models.chronos.spec import SPEC


class BoltNetwork(Network):
    """An encoder of patches and a decoder of one token (amazon/chronos-bolt-*)."""

    def __init__(self, module: Any) -> None:
        config = module.chronos_config
        self.module = module
        self.levels = tuple(config.quantiles)
        self.block = self.shared_block = config.prediction_length
        self.capabilities = replace(
            SPEC.capabilities,
            multivariate=False,
            past_covariates=False,
            future_covariates=False,
            categorical_covariates=False,
            max_context=config.context_length,
            max_horizon=LONGEST_UNROLL * self.block,
        )

    @staticmethod
    def module_class() -> Any:
        return ChronosBoltModelForForecasting

    def predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        scalings = [self.scaler_of(series.target) for series in batch]
        context = left_padded(
            [
                float32(scaling.apply(series.target))
                for scaling, series in zip(scalings, batch, strict=True)
            ]
        )  # [N, T]
        answer = self._unroll(context.to(self.module.device), task.horizon)
        standard = answer[..., : task.horizon].cpu().numpy()  # [N, Q, H]
        warnings = self.warnings(task.horizon)
        median = median_of(self.levels)
        forecasts = []
        for series, scaling, one in zip(batch, scalings, standard, strict=True):
            quantiles = scaling.restore(one[None])
            told = warnings + spread_warnings(series)
            forecasts.append(Forecast(quantiles[:, median], quantiles, self.levels, told))
        return forecasts

    def loss(self, module: Any, batch: Batch) -> torch.Tensor:
        answer = module(
            context=with_gaps(batch.past, batch.past_observed)[:, 0],
            target=with_gaps(batch.future, batch.future_observed)[:, 0],
        )
        loss: torch.Tensor = answer.loss
        return loss

    def _unroll(self, context: torch.Tensor, horizon: int) -> torch.Tensor:
        """Forecast whole blocks until they hold `horizon` steps: [N, Q, steps].

        As the authors do it: every quantile path is continued by all Q quantiles, and the
        Q² values of a step are reduced to Q.
        """
        blocks = [self.module(context=context).quantile_preds]
        levels = torch.tensor(self.levels, device=context.device)
        paths = context[:, None].expand(-1, len(levels), -1)  # [N, Q, T]
        while len(blocks) * self.block < horizon:
            longest = self.capabilities.max_context
            paths = torch.cat([paths, blocks[-1]], dim=-1)[..., -longest:]
            answer = self.module(context=paths.flatten(0, 1)).quantile_preds  # [N·Q, Q, block]
            crossed = answer.unflatten(0, paths.shape[:2]).flatten(1, 2)  # [N, Q², block]
            blocks.append(torch.quantile(crossed, levels, dim=1).transpose(0, 1))
        return torch.cat(blocks, dim=-1)
