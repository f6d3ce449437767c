"""A small network pretrained on synthetic series, run in NumPy."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from threadpoolctl import ThreadpoolController

from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.config import ModelConfig
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.sprout import few
from forecast.models.sprout.context import BLOCK, CONTEXT, LEAD, LOOK_BACK, PATCH, Integers
from forecast.models.sprout.exact import moved_to_exact
from forecast.models.sprout.features import features
from forecast.models.sprout.forward import NAMES, Weights, forward
from forecast.models.sprout.prepared import prepare
from forecast.models.sprout.rolling import rolled
from forecast.models.sprout.scaling import standardise
from forecast.models.sprout.spec import SPEC, SproutOptions
from forecast.models.sprout.tails import LEVELS, with_tails

WEIGHTS_FILE = "sprout.safetensors"
SHIPPED = Path(__file__).parent / "weights"

_STEPS_AT_ONCE = 16_384  # of all contexts in one call of the network; more leave a core's cache
_MEDIAN = LEVELS.index(0.5)


class _Row(NamedTuple):
    """One channel: its values from the first to the last observed, and the steps missing after."""

    values: FloatArray
    gap: int
    hint: tuple[int, int]

    @property
    def length(self) -> int:
        """Steps that its context is padded to: a power of two of patches, or all there are."""
        patches = 1 << (-(-len(self.values) // PATCH) - 1).bit_length()
        return min(patches * PATCH, LOOK_BACK)


class SproutModel(BaseTimeSeriesModel):
    """Forecasts every channel by itself; the point forecast is the median."""

    spec = SPEC

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config)
        self._weights: Weights = {}

    def shared_horizon(self, horizon: int) -> int:
        """Round up to whole patches: no step depends on those after it."""
        return -(-horizon // PATCH) * PATCH

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        options = task.options
        assert isinstance(options, SproutOptions)
        rows = [row for series in batch for row in _rows(series, options)]
        # More threads only wait for each other: each matrix is that of one series.
        with _threads().limit(limits=1, user_api="blas"):
            quantiles = self._quantiles(rows, task.horizon)
        forecasts, begin = [], 0
        for series in batch:
            end = begin + series.num_channels
            own = quantiles[begin:end]
            warnings = (few.WARNING,) if _any_is_few(rows[begin:end]) else ()
            forecasts.append(Forecast(own[:, _MEDIAN], own, LEVELS, warnings))
            begin = end
        return forecasts

    def _quantiles(self, rows: Sequence[_Row], horizon: int) -> FloatArray:
        """Forecast each row, those of like length together: [N, Q, horizon]."""
        groups = defaultdict(list)
        for number, row in enumerate(rows):
            groups[row.length, row.gap].append(number)
        answers = np.empty((len(rows), len(LEVELS), horizon))
        for (length, gap), numbers in groups.items():
            for some in _chunks(numbers, _STEPS_AT_ONCE // (length + BLOCK)):
                group = [rows[number] for number in some]
                contexts = _stacked(group, length)
                prepared = prepare(contexts)
                told = _told(group, prepared.found)
                once = _Pass(self._weights, told, prepared.found)
                quantiles = rolled(once, prepared.values, gap + horizon, told[:, 0])
                answers[some] = prepared.undo(quantiles)[:, :, gap:]
        for answer, row in zip(answers, rows, strict=True):
            if few.are_too_few(row.values):
                answer += few.spread_of_few(row.values, row.gap + horizon)[:, row.gap :]
            if np.nanmin(row.values) >= 0:
                np.maximum(answer, 0, out=answer)
        return answers

    def _save_model_weights(self, path: Path) -> None:
        save_file(dict(self._weights), path / WEIGHTS_FILE)

    def _load_model_weights(self, path: Path) -> None:
        try:
            weights = load_file(path / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise BadData(f"the weights hold no readable {WEIGHTS_FILE}") from error
        if set(weights) != NAMES:
            raise BadData(f"{WEIGHTS_FILE} holds weights of another network than this version's")
        self._weights = {name: value.astype(np.float32) for name, value in weights.items()}

    @classmethod
    def tiny(cls) -> Self:
        """Load the weights that are shipped: they are small."""
        return cls.load_model(SHIPPED)


@dataclass(frozen=True)
class _Pass:
    """The network with two sets of seasons; where they differ, the mean of its two answers.

    Each counts by the inverse fourth power of the smallest error that a simple forecast made in
    the past with its seasons; the power was chosen on synthetic windows.
    """

    weights: Weights
    told: Integers  # [N, 2]
    found: Integers  # [N, 2]

    def __call__(self, contexts: FloatArray, horizon: int) -> FloatArray:
        """Forecast contexts [N, T] by one pass: quantiles [N, Q, horizon]."""
        known = standardise(_padded(contexts))
        twice = np.flatnonzero((self.told != self.found).any(axis=1))
        values = np.concatenate([known.values, known.values[twice]])
        seasons = np.concatenate([self.told, self.found[twice]])
        inputs = features(values, seasons, horizon)
        deciles = forward(self.weights, inputs).astype(float)
        quantiles = with_tails(deciles, self.weights["stretch"])
        answers = moved_to_exact(quantiles, values, seasons)
        mean, other = answers[: len(contexts)], answers[len(contexts) :]
        errors = inputs.spread.astype(float)[:, None, None] ** 4
        told, found = errors[twice], errors[len(contexts) :]
        mean[twice] = (mean[twice] * found + other * told) / (told + found)
        return mean * known.scale[:, None, None] + known.centre[:, None, None]


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _rows(series: Series, options: SproutOptions) -> Iterator[_Row]:
    hint = _hint(series, options)
    for values in series.target:
        observed = np.flatnonzero(~np.isnan(values))
        begin, end = int(observed[0]), int(observed[-1]) + 1
        yield _Row(values[begin:end], series.length - end, hint)


def _hint(series: Series, options: SproutOptions) -> tuple[int, int]:
    """Name the seasons asked for, or those of the frequency: the day and the week, or one."""
    if options.season_lengths is not None:
        first, *rest = sorted(options.season_lengths)
        return first, rest[0] if rest else 1
    first, second, *_ = *series.seasons, 1, 1
    return first, second


def _told(group: Sequence[_Row], found: Integers) -> Integers:
    """Return the seasons of the caller or the frequency [N, 2]; without one, those found."""
    told = np.array([row.hint for row in group])
    told = np.where(told[:, :1] > 1, told, found)
    return np.where(told <= LOOK_BACK // 2, told, 1)


def _stacked(group: Sequence[_Row], length: int) -> FloatArray:
    contexts = np.full((len(group), length), np.nan)
    for context, row in zip(contexts, group, strict=True):
        context[length - len(row.values) :] = row.values
    return contexts


def _padded(contexts: FloatArray) -> FloatArray:
    """Give contexts as many steps as the experts look back on: less is faster."""
    steps = min(contexts.shape[1], LOOK_BACK)
    lead = LEAD if steps <= CONTEXT else LOOK_BACK - steps
    return np.pad(contexts[:, -steps:], ((0, 0), (lead, 0)), constant_values=np.nan)


def _chunks(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    for begin in range(0, len(numbers), size):
        yield list(numbers[begin : begin + size])


def _any_is_few(rows: Sequence[_Row]) -> bool:
    return any(few.are_too_few(row.values) for row in rows)
