"""A target that a covariate explains, of each kind, and how far a forecast follows it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.types import FloatArray, Series
from forecast.models.base.config import TrainingMode
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.spec import Capabilities
from tests.contract.forecasts import HORIZON, TASK, WEEK, daily

KINDS = ("past", "future", "static", "categorical")
EFFECT = 3.0
LENGTH = 160
LEARNING = {"max_epochs": None, "learning_rate": 3e-2, "batch_size": 32}
FINE_TUNING = LEARNING | {"max_steps": 100}
# TTM r3 learns nothing of the past at 3e-2, and too little in 100 steps at 3e-3.
SLOW_LEARNERS = {("ttm", "past"): {"learning_rate": 3e-3, "max_steps": 400}}


def claims(able: Capabilities, kind: str) -> bool:
    return bool(getattr(able, f"{kind}_covariates"))


def explained(kind: str, seed: int, raised: bool | None = None) -> Series:
    """Make a series that a covariate explains but for a little noise.

    Args:
        raised: whether the covariate is high where it decides the horizon; None for chance.
    """
    chance = np.random.default_rng(seed)
    noise = 0.1 * chance.normal(size=LENGTH)
    if kind == "static":
        return with_region(noise, str(seed), bool(seed % 2) if raised is None else raised)
    values = chance.integers(0, 2, LENGTH + HORIZON).astype(float)
    first = LENGTH - HORIZON if kind == "past" else LENGTH
    if raised is not None:
        values[first : first + HORIZON] = raised
    return with_promo(kind, noise, str(seed), values)


def with_region(noise: FloatArray, item_id: str, is_high: bool) -> Series:
    """Make a week where the region is high, and nothing where it is low."""
    target = is_high * EFFECT * np.resize(WEEK / WEEK.mean(), LENGTH) + noise
    return replace(
        daily(target, item_id), static_covariates={"region": "high" if is_high else "low"}
    )


def with_promo(kind: str, noise: FloatArray, item_id: str, values: FloatArray) -> Series:
    """Add the effect of a covariate at once, or a horizon later for one of the past alone."""
    causes = np.concatenate([np.zeros(HORIZON), values])[:LENGTH] if kind == "past" else values
    shown = np.where(values > 0, "on", "off") if kind == "categorical" else values
    return replace(
        daily(EFFECT * causes[:LENGTH] + noise, item_id),
        past_covariates={"promo": shown[:LENGTH]},
        future_covariates={} if kind == "past" else {"promo": shown[LENGTH:]},
    )


def learned(model: BaseTimeSeriesModel, kind: str, folder: Path) -> BaseTimeSeriesModel:
    """Train a copy of a model on series that such a covariate explains.

    Raises:
        InvalidRequest: it takes no such covariate, with training or without.
    """
    series = [explained(kind, seed) for seed in range(8)]
    if model.spec.capabilities.trainable:
        mode = TrainingMode.FROM_SCRATCH
        changes = LEARNING | {"max_steps": 150, "training_mode": mode, "horizon": HORIZON}
        return type(model)(model.config.model_copy(update=changes)).fit(series)
    model.save_model(folder / "made-up")
    tuning = FINE_TUNING | SLOW_LEARNERS.get((model.spec.model_id, kind), {})
    once, copy = (
        type(model).load_model(folder / "made-up", **(tuning | changes))
        for changes in ({"max_steps": 1}, {})
    )
    if not claims(once.fit(series).capabilities, kind):
        raise InvalidRequest(f"takes no {kind} covariates, also after a training")
    return copy.fit(series)


def response(model: BaseTimeSeriesModel, kind: str) -> float:
    """Measure by how much the forecast rises with the covariate, where `EFFECT` is right."""
    low, high = (model.predict([explained(kind, 98, raised)], TASK)[0] for raised in (False, True))
    return float((high.mean - low.mean).mean())


def follows_a_covariate(model: BaseTimeSeriesModel, kind: str, folder: Path) -> None:
    """The forecast rises with a covariate: by its effect, or about so after a short training.

    Of made-up weights nothing more is asked than that they hear of the covariate at all.
    """
    spec = model.spec
    if spec.is_ready_at_once:
        np.testing.assert_allclose(response(model, kind), EFFECT, rtol=0.2)
    elif spec.needs_training or not claims(model.capabilities, kind):
        trained = learned(model, kind, folder)
        np.testing.assert_allclose(response(trained, kind), EFFECT, rtol=0.6)
    else:
        assert abs(response(model, kind)) > 1e-3, f"{kind} covariates change nothing"
