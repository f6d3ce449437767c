"""What the three kinds of Chronos have in common: a network that answers a batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from transformers.utils import logging as transformers_logging

from forecast.core.types import CovariateArray, FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.scaling import Scaler
from forecast.models.base.torch.training import Batch
from forecast.models.spec import Capabilities

transformers_logging.disable_progress_bar()  # a bar a load

Array32 = npt.NDArray[np.float32]
LONGEST_UNROLL = 16
"""Most blocks that a network forecasts one after the other, each from the ones before."""


class Network(ABC):
    """The weights of one checkpoint, and what they can do.

    Attributes:
        module: the authors' torch module, in eval mode on its device.
        capabilities: the spec's, narrowed to this checkpoint.
        block: steps forecast at once; what lies beyond is forecast from the forecast.
        shared_block: horizons rounded up to a multiple of this have the same answer.
        samples: whether it draws paths, so that the options of sampling mean something.
        levels: of its own quantiles; empty where it draws paths.
    """

    samples: ClassVar[bool] = False
    levels: tuple[float, ...] = ()
    module: Any
    capabilities: Capabilities
    block: int
    shared_block: int = 1

    @abstractmethod
    def __init__(self, module: Any) -> None:
        """Read the limits from the module's own config."""

    @staticmethod
    @abstractmethod
    def module_class() -> Any:
        """Name the authors' class that reads such a checkpoint."""

    @abstractmethod
    def predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast series that hold only usable covariates."""

    @abstractmethod
    def loss(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Give the authors' training loss of a batch: a scalar.

        Args:
            module: what is trained: this module, one like it, or one that wraps it.
        """

    def scaler_of(self, target: FloatArray) -> Scaler[FloatArray]:
        """Measure a target [C, T], to be standardised in float64 before the network reads it."""
        return Scaler.of(target)

    def warnings(self, horizon: int) -> tuple[str, ...]:
        """Say what the caller should know of a forecast of `horizon` steps."""
        if horizon <= self.block:
            return ()
        return (
            f"steps after {self.block} are forecast from the forecast itself;"
            " their quantiles are less reliable",
        )


def rows_of(series: Series) -> int:
    """Count the rows that a series takes of a call: channels and covariates."""
    return series.num_channels + len(series.past_covariates)


def chunks(batch: Sequence[Series], rows: int) -> Iterator[Sequence[Series]]:
    """Cut a batch into runs of at most `rows` rows, or of one series."""
    start = used = 0
    for end, series in enumerate(batch):
        size = rows_of(series)
        if used and used + size > rows:
            yield batch[start:end]
            start, used = end, 0
        used += size
    yield batch[start:]


def float32(values: CovariateArray) -> Array32:
    """Narrow numbers to what the weights are made of."""
    return values.astype(np.float32)


def left_padded(rows: Sequence[Array32]) -> torch.Tensor:
    """Align rows [R_i, T_i] at their ends: [sum of R_i, longest T], NaN before a start."""
    height = sum(len(row) for row in rows)
    padded = np.full((height, max(row.shape[1] for row in rows)), np.nan, dtype=np.float32)
    first = 0
    for row in rows:
        padded[first : first + len(row), padded.shape[1] - row.shape[1] :] = row
        first += len(row)
    return torch.from_numpy(padded)


def with_gaps(values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Put NaN where nothing is observed, as the authors' networks read it."""
    return values.masked_fill(~observed, torch.nan)


def median_of(levels: Sequence[float]) -> int:
    """Find the level nearest to the median: the authors take it for the point forecast."""
    return int(np.abs(np.asarray(levels) - 0.5).argmin())
