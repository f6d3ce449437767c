"""The contract suite notices a wrong model: each of these fails the checks that it should."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from forecast.core.types import Forecast, ForecastTask, Series
from tests.contract import forecasts
from tests.contract.covariates import follows_a_covariate
from tests.contract.lookahead import begins_validation_at_the_split, holds_nothing_later
from tests.contract.seasonal_drift import SeasonalDriftModel


def promo(model) -> None:
    """Check a covariate that is known ahead; without training, nothing is written to a folder."""
    follows_a_covariate(model, "future", None)


CHECKS = (*forecasts.ALL, promo)


class Spoilt(SeasonalDriftModel):
    """Forecasts rightly, and then spoils it."""

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        return [self.spoil(forecast) for forecast in super()._predict(batch, task)]

    def spoil(self, right: Forecast) -> Forecast:
        raise NotImplementedError


def widened(right: Forecast, factor: float) -> Forecast:
    center = right.mean[:, None]
    return replace(right, quantiles=center + factor * (right.quantiles - center))


class ZeroWidth(Spoilt):
    def spoil(self, right):
        return widened(right, 0.0)


class HundredTimesTooWide(Spoilt):
    def spoil(self, right):
        return widened(right, 100.0)


class FlippedSign(Spoilt):
    def spoil(self, right):
        return replace(right, mean=-right.mean, quantiles=-right.quantiles[:, ::-1])


class Always42(Spoilt):
    def spoil(self, right):
        offsets = right.quantiles - right.mean[:, None]
        return replace(right, mean=np.full_like(right.mean, 42.0), quantiles=42.0 + offsets)


class DeafToCovariates(SeasonalDriftModel):
    def _predict(self, batch, task):
        plain = [replace(one, past_covariates={}, future_covariates={}) for one in batch]
        return super()._predict(plain, task)


def failed(model) -> set[str]:
    """Name the checks that a model does not pass."""
    names = set()
    for check in CHECKS:
        try:
            check(model)
        except AssertionError:
            names.add(check.__name__)
    return names


def test_the_model_that_is_spoilt_here_is_right_before():
    assert failed(SeasonalDriftModel.tiny()) == set()


@pytest.mark.parametrize(
    ("wrong", "noticed"),
    [
        (ZeroWidth, {"covers_random_walks", "covers_noisy_seasons"}),
        (HundredTimesTooWide, {"covers_random_walks", "covers_noisy_seasons"}),
        (FlippedSign, {"goes_on_along_a_line", "repeats_a_season", "shifts_with_the_series"}),
        (Always42, {"goes_on_along_a_line", "repeats_a_season", "scales_with_the_series"}),
        (DeafToCovariates, {"promo"}),
    ],
)
def test_a_wrong_model_fails(wrong, noticed):
    assert noticed <= failed(wrong.tiny())


def test_a_cut_that_keeps_one_step_too_many_fails():
    holds_nothing_later(Series.until)
    with pytest.raises(AssertionError):
        holds_nothing_later(lambda series, moment: series.until(series.steps_until(moment) + 1))


def test_a_split_that_leaks_fails(tmp_path):
    pytest.importorskip("torch", reason="needs the networks extra")
    from tests.models.base.linear_model import LinearModel

    class Leaking(LinearModel):
        """Chooses its weights by all windows of the validation series."""

        def fit(self, *series, first_validation_steps=(), **others):
            return super().fit(*series, **others)

    begins_validation_at_the_split(LinearModel.tiny(), tmp_path / "right")
    with pytest.raises(AssertionError):
        begins_validation_at_the_split(Leaking.tiny(), tmp_path / "leaking")
