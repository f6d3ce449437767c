"""A small network pretrained on synthetic series, run in NumPy."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from threadpoolctl import ThreadpoolController

from forecast.core.errors import BadData, MissingLibrary
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.config import ModelConfig
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.covariate_effects import with_covariates
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.saved import OnProgress, TrainingResult
from forecast.models.base.scaling import Scaler
from forecast.models.sprout import few
from forecast.models.sprout.context import BLOCK, CONTEXT, LEAD, LOOK_BACK, PATCH, Integers
from forecast.models.sprout.exact import moved_to_exact
from forecast.models.sprout.features import features
from forecast.models.sprout.forward import NAMES, Weights, forward
from forecast.models.sprout.prepared import prepare
from forecast.models.sprout.rolling import rolled
from forecast.models.sprout.scaling import standardise
from forecast.models.sprout.spec import SPEC, SproutConfig, SproutOptions
from forecast.models.sprout.tails import LEVELS, with_tails

if TYPE_CHECKING:
    from forecast.models.sprout.tuning import TunedSprout

WEIGHTS_FILE = "sprout.safetensors"
SHIPPED = Path(__file__).parent / "weights"

_TRAINED_HORIZON = 48  # where no horizon is set
_STEPS_AT_ONCE = 16_384  # of all contexts in one call of the network; more leave a core's cache
_MEDIAN = LEVELS.index(0.5)


class Row(NamedTuple):
    """One channel: its values from the first to the last observed, and the steps missing after.

    Attributes:
        hint: seasons that the caller or the frequency names.
    """

    values: FloatArray
    gap: int
    hint: Sequence[int]

    @classmethod
    def of(cls, values: FloatArray, hint: Sequence[int]) -> Self:
        """Cut values [T], one of which is observed."""
        observed = np.flatnonzero(~np.isnan(values))
        begin, end = int(observed[0]), int(observed[-1]) + 1
        return cls(values[begin:end], len(values) - end, hint)

    @property
    def length(self) -> int:
        """Steps that its context is padded to: a power of two of patches, or all there are."""
        patches = 1 << (-(-len(self.values) // PATCH) - 1).bit_length()
        return min(patches * PATCH, LOOK_BACK)


class SproutModel(BaseTimeSeriesModel):
    """Forecasts every channel by itself; the point forecast is the median."""

    spec = SPEC
    config: SproutConfig
    chooses_by_validation = True
    calibration_: ConformalCalibration | None = None

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config)
        self._weights: Weights = {}

    def shared_horizon(self, horizon: int) -> int:
        """Round up to whole patches: no step depends on those after it."""
        return -(-horizon // PATCH) * PATCH

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        if batch[0].future_covariates:
            seasons = [_hint(series, task)[0] for series in batch]
            forecasts = with_covariates(batch, task, self._alone, seasons)
        else:
            forecasts = self._alone(batch, task)
        return [_not_below_zero(*pair) for pair in zip(forecasts, batch, strict=True)]

    def _alone(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast series without covariates."""
        rows = [Row.of(values, _hint(series, task)) for series in batch for values in series.target]
        # More threads only wait for each other: each matrix is that of one series.
        with _threads().limit(limits=1, user_api="blas"):
            quantiles = self._quantiles(rows, task.horizon)
        forecasts, begin = [], 0
        for series in batch:
            end = begin + series.num_channels
            own = quantiles[begin:end]
            warnings = (few.WARNING,) if _any_is_few(rows[begin:end]) else ()
            native = Forecast(own[:, _MEDIAN], own, LEVELS, warnings)
            forecasts.append(self._adjusted(native, series, task))
            begin = end
        return forecasts

    def _quantiles(self, rows: Sequence[Row], horizon: int) -> FloatArray:
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
                told = seasons_told(np.array([row.hint for row in group]), prepared.found)
                once = _Pass(self._weights, told, prepared.found)
                quantiles = rolled(once, prepared.values, gap + horizon, told[:, 0])
                answers[some] = prepared.undo(quantiles)[:, :, gap:]
        for answer, row in zip(answers, rows, strict=True):
            if few.are_too_few(row.values):
                answer += few.spread_of_few(row.values, row.gap + horizon)[:, row.gap :]
        return answers

    def _adjusted(self, forecast: Forecast, series: Series, task: ForecastTask) -> Forecast:
        """Move the quantiles by what those of the training's validation split were short of."""
        if self.calibration_ is None or not task.quantile_levels:
            return forecast
        if task.intervals == "native":
            return replace(forecast, intervals="native")
        return self.calibration_.adjust(forecast, Scaler.of(series.target).scale[:, 0])

    @property
    def is_calibrated(self) -> bool:
        return self.calibration_ is not None

    @property
    def training_horizon(self) -> int:
        return min(self.config.horizon or _TRAINED_HORIZON, BLOCK)

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,
        on_progress: OnProgress,
        checkpoints: Path | None,
    ) -> TrainingResult:
        learning = _learning_class()(self.config)
        vars(learning).update(vars(self))
        result = learning._fit(train, validation, on_progress, checkpoints)
        self._weights, self.calibration_ = learning._weights, learning.calibration_
        return result

    def _save_model_weights(self, path: Path) -> None:
        save_file(dict(self._weights), path / WEIGHTS_FILE)
        if self.calibration_ is not None:
            self.calibration_.save(path)

    def _load_model_weights(self, path: Path) -> None:
        try:
            weights = load_file(path / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise BadData(f"the weights hold no readable {WEIGHTS_FILE}") from error
        if set(weights) != NAMES:
            raise BadData(f"{WEIGHTS_FILE} holds weights of another network than this version's")
        self._weights = {name: value.astype(np.float32) for name, value in weights.items()}
        self.calibration_ = ConformalCalibration.load(path)

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
        known = standardise(padded(contexts))
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


def _learning_class() -> "type[TunedSprout]":
    """Import what trains, and torch with it."""
    try:
        from forecast.models.sprout.tuning import TunedSprout
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"training Sprout needs {error.name}, which is not installed; forecasts do not;"
            " install it with: pip install 'forecast-gateway[networks]'"
        ) from error
    return TunedSprout


def _not_below_zero(forecast: Forecast, series: Series) -> Forecast:
    """Raise to 0 what is forecast of channels that never were below."""
    least = np.where(np.nanmin(series.target, axis=1) >= 0, 0.0, -np.inf)
    return replace(
        forecast,
        mean=np.maximum(forecast.mean, least[:, None]),
        quantiles=np.maximum(forecast.quantiles, least[:, None, None]),
    )


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _hint(series: Series, task: ForecastTask) -> tuple[int, int]:
    """Name the seasons asked for, or those of the frequency."""
    options = task.options
    assert isinstance(options, SproutOptions)
    if options.season_lengths is None:
        return usual_seasons(series)
    first, *rest = sorted(options.season_lengths)
    return first, rest[0] if rest else 1


def usual_seasons(series: Series) -> tuple[int, int]:
    """Name the seasons of the frequency: the day and the week, or one; 1 for none."""
    first, second, *_ = *series.seasons, 1, 1
    return first, second


def seasons_told(hints: Integers, found: Integers) -> Integers:
    """Return the seasons of the caller or the frequency [N, 2]; without one, those found."""
    told = np.where(hints[:, :1] > 1, hints, found)
    return np.where(told <= LOOK_BACK // 2, told, 1)


def _stacked(group: Sequence[Row], length: int) -> FloatArray:
    contexts = np.full((len(group), length), np.nan)
    for context, row in zip(contexts, group, strict=True):
        context[length - len(row.values) :] = row.values
    return contexts


def padded(contexts: FloatArray) -> FloatArray:
    """Give contexts [N, T] as many steps as the experts look back on: less is faster."""
    steps = min(-(-contexts.shape[1] // PATCH) * PATCH, LOOK_BACK)
    lead = LEAD if steps <= CONTEXT else LOOK_BACK - steps
    kept = contexts[:, -steps:]
    missing = lead + steps - kept.shape[1]
    return np.pad(kept, ((0, 0), (missing, 0)), constant_values=np.nan)


def _chunks(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    for begin in range(0, len(numbers), size):
        yield list(numbers[begin : begin + size])


def _any_is_few(rows: Sequence[Row]) -> bool:
    return any(few.are_too_few(row.values) for row in rows)
