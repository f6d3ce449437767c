"""What must not be looked at: steps after a moment, and validation windows before the split."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from forecast.core.types import FloatArray, Series
from forecast.models.base.model import BaseTimeSeriesModel
from tests.contract.forecasts import daily

Cut = Callable[[Series, np.datetime64], Series]
STEPS, FIRST = 1000, 800  # of a series, and of its validation


def holds_nothing_later(cut: Cut) -> None:
    """A cut keeps the days that are over, and nothing after has any part in what is left."""
    whole = daily(np.arange(20.0))
    for days in range(1, 20):
        moment = np.datetime64("2024-01-01T09:00:00") + np.timedelta64(days, "D")
        changed = whole.target.copy()
        changed[:, days:] = -1.0
        left, other = (cut(one, moment) for one in (whole, replace(whole, target=changed)))
        assert left.length == days
        np.testing.assert_array_equal(left.target, other.target)


def begins_validation_at_the_split(model: BaseTimeSeriesModel, folder: Path) -> None:
    """The loss by which weights are chosen does not depend on what lies before its windows.

    The series get their early steps in reverse, which keeps mean and spread. No window that
    begins its future at the split reads as far back as that, and all others would notice.
    """
    forth, back = (_validation_losses(model, folder / way, way) for way in ("forth", "back"))
    assert forth, "validation leaves no loss"
    np.testing.assert_allclose(forth, back, rtol=1e-4)


def _validation_losses(model: BaseTimeSeriesModel, folder: Path, way: str) -> list[float]:
    copy = _trainable_copy(model, folder)
    whole = _target()
    reach = max(copy.max_context, copy.config.context_length or 0)  # a fit may take a longer one
    early = FIRST - reach - 50
    changed = np.concatenate([whole[:early][::-1], whole[early:]]) if way == "back" else whole
    copy.fit([daily(whole[:FIRST])], [daily(changed)], first_validation_steps=[FIRST])
    told = [*copy.training_history_, copy.best_metrics_]
    chosen_by = ("validation", "head")  # ts2vec chooses the penalty of its head by these
    return [value for one in told for name, value in one.items() if name.startswith(chosen_by)]


def _target() -> FloatArray:
    """A walk whose steps grow smaller, so that its early windows are harder than its late ones."""
    noise = np.random.default_rng(8).normal(size=STEPS)
    return np.cumsum(noise * np.linspace(20, 1, STEPS))


def _trainable_copy(model: BaseTimeSeriesModel, folder: Path) -> BaseTimeSeriesModel:
    short: dict[str, Any] = {"max_steps": 1, "max_epochs": None, "learning_rate": 1e-6}
    if model.max_context > FIRST // 2:
        short["context_length"] = 64
    model.save_model(folder)
    return type(model).load_model(folder, **short)
