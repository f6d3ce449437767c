"""Moirai 1 and Moirai-MoE: networks that forecast a distribution, of which paths are drawn."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from forecast.core.errors import BadData
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.model import options_of
from forecast.models.base.torch.device import seeded
from forecast.models.base.windows import rounded_up
from forecast.models.moirai.inputs import Inputs
from forecast.models.moirai.library import MoiraiForecast, MoiraiMoEForecast
from forecast.models.moirai.network import Network
from forecast.models.moirai.spec import MoiraiOptions

DEFAULT_PATHS = 100
_SLOW, _DAILY, _FAST = 8, 16, 64  # patches by frequency, as the authors pair them
_USUAL = 32


class SampleNetwork(Network):
    """A checkpoint that samples.

    Series are sampled one by one, each from the same seed: sharing a call would change the
    last bits of the distribution, and now and then a path with them.
    """

    forecaster: ClassVar[Any]

    def predict(
        self,
        batch: Sequence[Series],
        task: ForecastTask,
        batch_size: int,  # noqa: ARG002 -- one by one
    ) -> list[Forecast]:
        return [self._forecast(series, task) for series in batch]

    def _forecast(self, series: Series, task: ForecastTask) -> Forecast:
        """Draw paths; the median of each step is the point forecast.

        The distribution has parts with such heavy tails that the mean of its paths is erratic.
        """
        paths = self._paths(series, task)  # [C, S, H]
        levels = np.quantile(paths, task.quantile_levels, axis=1)  # [Q, C, H]
        return Forecast(np.median(paths, axis=1), levels.swapaxes(0, 1), task.quantile_levels)

    def _paths(self, series: Series, task: ForecastTask) -> Any:
        patch = self.patch_for(series, task)
        inputs = Inputs.of([series], rounded_up(series.length, patch), task.horizon, self.device)
        draw = inputs.forecaster(
            self.forecaster,
            self.module,
            task.horizon,
            patch_size=patch,
            num_samples=task.num_samples or DEFAULT_PATHS,
        )
        with seeded(task.seed, self.device):
            paths = draw.to(self.device)(**inputs.tensors)[0]  # [S, H] or [S, H, C]
        paths = paths.reshape(*paths.shape[:2], inputs.sizes.channels)
        return inputs.restored(paths.permute(2, 0, 1)[None].double().cpu().numpy())[0]


class MixtureNetwork(SampleNetwork):
    """A Moirai 1 checkpoint (1.0 or 1.1)."""

    forecaster = MoiraiForecast
    reads_ahead = True

    def __init__(self, module: Any, device: torch.device) -> None:
        super().__init__(module, device)
        self.patch_sizes = tuple(sorted(module.patch_sizes))

    def patch_for(self, series: Series, task: ForecastTask) -> int:
        options = options_of(task) if task.options is not None else None
        asked = options.patch_size if isinstance(options, MoiraiOptions) else None
        wanted = asked or patch_of_frequency(series)
        return min(self.patch_sizes, key=lambda size: abs(size - wanted))


class ExpertsNetwork(SampleNetwork):
    """A Moirai-MoE checkpoint: it forecasts patch by patch, each path going on from itself."""

    forecaster = MoiraiMoEForecast

    def __init__(self, module: Any, device: torch.device) -> None:
        super().__init__(module, device)
        if len(module.patch_sizes) != 1:
            raise BadData("a Moirai-MoE has one patch size; its config.json names several")

    def patch_for(self, series: Series, task: ForecastTask) -> int:  # noqa: ARG002
        return int(self.module.patch_sizes[0])


def patch_of_frequency(series: Series) -> int:
    """Take a patch size among those that the authors trained a frequency with (table 6)."""
    alias = series.freq.alias.partition("-")[0].lstrip("0123456789") if series.freq else ""
    if alias == "s":
        return _FAST
    if alias in ("D", "B", "C", "W"):
        return _DAILY
    if alias[:1] in ("M", "B", "S", "Q", "Y"):
        return _SLOW
    return _USUAL
