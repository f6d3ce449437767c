"""What is the same for every network of fixed lengths, on one whose answer is plain to see."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
import pytest
import torch
from torch import nn

from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import NetworkConfig
from forecast.models.base.torch.network_model import (
    LONGEST_UNROLL,
    Block,
    Lengths,
    NetworkModel,
    filled,
    mean_where,
)
from forecast.models.spec import Capabilities, License, ModelSpec

CONTEXT, BLOCK = 8, 3


class RepeatConfig(NetworkConfig):
    context_length: int = CONTEXT
    horizon: int = BLOCK
    max_epochs: int | None = 12
    learning_rate: float = 0.1
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"  # settles in the end
    device: str = "cpu"


class Repeat(nn.Module):
    """Forecasts the last value, and a step learned for each step of the block."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Parameter(torch.zeros(BLOCK))

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        return past[..., -1:] + self.steps


class RepeatModel(NetworkModel):
    spec = ModelSpec(
        model_id="repeat",
        name="Repeat",
        version="1",
        description="",
        default_port=1,
        model="",
        weights=None,
        capabilities=Capabilities(multivariate=True, missing_values=True, trainable=True),
        license=License("MIT", True, ""),
        extra="",
        config=RepeatConfig,
    )

    standardizes_windows = False
    most_blocks = LONGEST_UNROLL

    def _loaded_lengths(self) -> Lengths:
        return Lengths(CONTEXT, BLOCK)

    def _new_network(self) -> nn.Module:
        return Repeat()

    def _run(self, network, context, levels=()) -> Block:
        return Block(network(context.past))

    def _save_model_weights(self, path: Path) -> None:
        raise AssertionError

    _load_model_weights = _save_model_weights

    @classmethod
    def tiny(cls) -> Self:
        model = cls()
        model.model_ = Repeat().eval()
        return model


def line(start: float, stop: float, *, slope: float = 1.0) -> Series:
    return Series(target=slope * np.arange(start, stop)[None])


def test_gaps_take_the_last_value_seen_and_what_is_before_the_first_the_mean():
    past = torch.tensor([[9.0, 9.0, 1.0, 9.0, 3.0, 9.0]])
    observed = torch.tensor([[False, False, True, False, True, False]])
    assert filled(past, observed).tolist() == [[2.0, 2.0, 1.0, 1.0, 3.0, 3.0]]


def test_what_was_never_observed_is_filled_with_nought():
    gone = torch.zeros(1, 3, dtype=torch.bool)
    assert filled(torch.full((1, 3), torch.nan), gone).tolist() == [[0.0, 0.0, 0.0]]


def test_only_what_is_observed_counts_in_a_mean():
    mask = torch.tensor([True, False, True])
    assert mean_where(torch.tensor([1.0, torch.nan, 3.0]), mask) == 2.0
    assert mean_where(torch.tensor([torch.nan]), torch.tensor([False])) == 0.0


def test_a_horizon_beyond_the_block_goes_on_from_the_forecast_and_says_so():
    model = RepeatModel.tiny()
    model.model_.steps.data = torch.tensor([0.0, 0.0, 1.0])
    series = line(0, CONTEXT)
    step = series.target.std()
    forecast = model.predict([series], ForecastTask(8, quantile_levels=()))[0]
    expected = 7 + step * np.array([0, 0, 1, 1, 1, 2, 2, 2])
    np.testing.assert_allclose(forecast.mean[0], expected, rtol=1e-6)
    assert "after 3" in forecast.warnings[0]


def test_the_unit_of_a_channel_does_not_matter():
    model = RepeatModel.tiny()
    model.model_.steps.data = torch.tensor([0.1, 0.2, 0.3])
    small = line(0, 20)
    large = Series(target=1e12 + 1e6 * small.target)
    task = ForecastTask(BLOCK, quantile_levels=())
    one, other = model.predict([small, large], task)
    np.testing.assert_allclose(other.mean, 1e12 + 1e6 * one.mean, rtol=1e-15)


def test_a_series_that_never_changes_goes_on_as_it_is():
    model = RepeatModel.tiny()
    model.model_.steps.data = torch.tensor([0.1, 0.2, 0.3])
    flat = Series(target=np.full((1, 20), 0.1))
    forecast = model.predict([flat], ForecastTask(5))[0]
    np.testing.assert_allclose(forecast.mean, 0.1)
    np.testing.assert_allclose(forecast.quantiles, 0.1)


def walk(seed: int, steps: int) -> Series:
    return Series(target=np.random.default_rng(seed).standard_normal((1, steps)).cumsum()[None])


def test_validation_teaches_how_sure_to_be_and_nothing_else_does():
    model = RepeatModel().fit([walk(0, 300)], [walk(1, 300)])
    assert model.calibration_ is not None
    quantiles = model.predict([walk(2, 60)], ForecastTask(3, (0.1, 0.9)))[0].quantiles[0]
    width = quantiles[1] - quantiles[0]
    assert (np.diff(width) > 0).all(), "errors of a walk grow with the step"
    assert RepeatModel().fit([walk(0, 300)]).calibration_ is None


def test_errors_learned_cover_what_they_say():
    model = RepeatModel().fit([walk(0, 500)], [walk(1, 2000)])
    test = walk(2, 4000).target[0]
    cuts = range(CONTEXT, 3900, 5)
    series = [Series(target=test[None, cut - CONTEXT : cut]) for cut in cuts]
    forecasts = model.predict(series, ForecastTask(1, (0.1, 0.9)))
    inside = [
        one.quantiles[0, 0, 0] <= test[cut] <= one.quantiles[0, 1, 0]
        for one, cut in zip(forecasts, cuts, strict=True)
    ]
    assert np.mean(inside) == pytest.approx(0.8, abs=0.05)


def test_a_network_without_learned_errors_makes_them_on_the_past_of_the_series():
    model = RepeatModel.tiny()
    calm, wild = walk(0, 8), Series(target=walk(0, 8).target * 1.0)
    wild.target[0, 5] += 20
    narrow, wide = (
        np.diff(one.quantiles[0, :, 0])
        for one in model.predict([calm, wild], ForecastTask(BLOCK, (0.1, 0.9)))
    )
    assert 0 < narrow < wide


def test_validation_that_never_changes_teaches_no_errors():
    flat = Series(target=np.ones((1, 60)))
    assert RepeatModel().fit([walk(0, 300)], [flat]).calibration_ is None


def test_limits_are_those_of_the_network():
    able = RepeatModel.tiny().capabilities
    assert (able.max_context, able.max_horizon, able.quantiles) == (8, 48, "calibrated")
    assert RepeatModel.tiny().shared_horizon(4) == 6


def test_training_counts_series_of_any_unit_alike():
    """A rise of one step is the same share of either series, and is learned from both."""
    small, large = line(0, 60), line(0, 60, slope=1e6)
    model = RepeatModel().fit([small, large])
    scale = small.target.std()
    np.testing.assert_allclose(
        model.model_.steps.detach().numpy(), np.array([1, 2, 3]) / scale, rtol=0.05
    )
