"""What the kinds of Moirai have in common: a network that answers a batch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from forecast.core.types import Forecast, ForecastTask, Series

MOST_TOKENS = 4096
"""Patches of one series, its covariates counted; memory grows with their square."""


class Network(ABC):
    """The weights of one checkpoint.

    Attributes:
        module: the authors' torch module, in eval mode on its device.
        shared_block: horizons rounded up to a multiple of this have the same answer.
        patch_sizes: those that may be asked for; empty where there is no choice.
        reads_ahead: whether a step that is forecast is read with the covariates known for it.
    """

    reads_ahead: ClassVar[bool] = False
    patch_sizes: tuple[int, ...] = ()
    shared_block: int = 1

    def __init__(self, module: Any, device: torch.device) -> None:
        self.module = module
        self.device = device

    @abstractmethod
    def patch_for(self, series: Series, task: ForecastTask) -> int:
        """Choose how many steps are read as one."""

    @abstractmethod
    def predict(
        self, batch: Sequence[Series], task: ForecastTask, batch_size: int
    ) -> list[Forecast]:
        """Forecast series of one layout that hold only usable covariates."""

    def tokens_of(self, series: Series, task: ForecastTask) -> int:
        """Count the patches of a series, with those of its covariates and of the horizon."""
        patch = self.patch_for(series, task)
        rows = series.num_channels + len(series.past_covariates)
        return int(rows * (-(-series.length // patch) + -(-task.horizon // patch)))
