"""A right model, small enough to be spoilt: the last season, a drift, and a regression."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.calibration import conformal_offsets
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.scaling import interpolate
from forecast.models.spec import Capabilities, License, ModelSpec

SPEC = ModelSpec(
    model_id="seasonal_drift",
    name="Seasonal drift",
    version="1",
    description="The last season and its drift, after a regression on covariates",
    default_port=8098,
    model="tests.contract.seasonal_drift:SeasonalDriftModel",
    weights=None,
    capabilities=Capabilities(future_covariates=True, quantiles="calibrated", min_context=3),
    license=License("Apache-2.0", commercial_use=True, url=""),
)


class Fit(NamedTuple):
    """The season's length, what each season adds and each covariate explains, and the errors."""

    season: int
    drift: float
    effects: FloatArray  # [K]
    errors: FloatArray  # [n], of forecasts one season ahead


class SeasonalDriftModel(BaseTimeSeriesModel):
    """Regresses seasonal differences of the target on those of its covariates."""

    spec = SPEC

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        return [self._forecast(series, task) for series in batch]

    def _forecast(self, series: Series, task: ForecastTask) -> Forecast:
        past = interpolate(series.target[0])
        known = _covariates(series, task.horizon)  # [K, T + H]
        fit = self._fitted(past, known[:, : series.length], series.season_length)
        seasons = np.arange(task.horizon) // fit.season + 1  # [H], of the last one repeated
        last = np.arange(series.length, series.length + task.horizon) - seasons * fit.season
        explained = fit.effects @ (known[:, series.length :] - known[:, last])
        mean = past[last] + seasons * fit.drift + explained
        offsets = conformal_offsets(fit.errors, task.quantile_levels)  # [Q]
        quantiles = mean + offsets[:, None] * np.sqrt(seasons)  # [Q, H]
        return Forecast(mean[None], quantiles[None], task.quantile_levels)

    def _fitted(self, past: FloatArray, known: FloatArray, season: int) -> Fit:
        season = season if len(past) >= 3 * season else 1
        changes = past[season:] - past[:-season]  # [n]
        causes = known[:, season:] - known[:, :-season]  # [K, n]
        center = causes.mean(axis=1, keepdims=True)
        effects = np.linalg.pinv((causes - center).T) @ (changes - changes.mean())
        rest = changes - effects @ causes
        return Fit(season, float(rest.mean()), effects, rest - rest.mean())

    def _save_model_weights(self, path: Path) -> None:
        """Nothing is learned beforehand."""

    def _load_model_weights(self, path: Path) -> None:
        """Nothing was saved."""

    @classmethod
    def tiny(cls) -> Self:
        return cls()


def _covariates(series: Series, horizon: int) -> FloatArray:
    """Join past and future of the covariates, in the order of their names: [K, T + H]."""
    rows = [
        np.concatenate([interpolate(series.past_covariates[name]), series.future_covariates[name]])
        for name in sorted(series.future_covariates)
    ]
    return np.array(rows, dtype=float).reshape(len(rows), series.length + horizon)
