"""Calibration on the validation split: it covers what it says, on each side, at every step."""

import json
from statistics import NormalDist

import numpy as np
import pytest

from forecast.core.errors import BadData
from forecast.core.types import Forecast, Series
from forecast.models.base.conformal import CALIBRATION_FILE, ConformalCalibration
from forecast.models.base.windows import Windows

HORIZON = 4


def noisy(windows: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Skewed errors of mean 0 whose standard deviation at step h is h: [C, 1, H, N]."""
    steps = np.arange(1, HORIZON + 1)[:, None]
    draws = np.random.default_rng(seed).exponential(size=(channels, 1, HORIZON, windows))
    return (draws - 1) * steps


def learned(windows: int = 4000, **sizes: int) -> ConformalCalibration:
    return ConformalCalibration.of(noisy(windows, **sizes), LEVELS, disjoint=windows)


LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)


def test_each_side_covers_its_share_of_skewed_errors_at_every_step() -> None:
    around = learned().around(np.zeros((1, HORIZON)), np.ones(1), (0.1, 0.9))
    fresh = noisy(20_000, seed=1)[0, 0]  # [H, N]

    low, high = around.quantiles[0][..., None]

    np.testing.assert_allclose((fresh < low).mean(axis=1), 0.1, atol=0.02)
    np.testing.assert_allclose((fresh > high).mean(axis=1), 0.1, atol=0.02)
    assert around.intervals == "conformal"


def test_width_follows_the_scale_of_the_series_and_a_constant_has_none() -> None:
    point = np.full((3, HORIZON), 7.0)
    one, three, none = learned().around(point, np.array([1.0, 3.0, 0.0]), (0.1, 0.9)).quantiles - 7
    np.testing.assert_allclose(three, 3 * one)
    np.testing.assert_array_equal(none, 0)


def test_quantiles_of_the_model_are_moved_to_the_share_that_they_name() -> None:
    rng = np.random.default_rng(0)
    levels = (0.1, 0.5, 0.9)
    narrow = np.array([NormalDist().inv_cdf(level) / 3 for level in levels])[:, None, None] + 1
    actual = rng.normal(size=(HORIZON, 3000))
    calibration = ConformalCalibration.of((actual - narrow)[None], levels, disjoint=3000)

    native = Forecast(np.zeros((1, HORIZON)), np.repeat(narrow[None, ..., 0], HORIZON, 2), levels)
    forecast = calibration.adjust(native, np.ones(1))

    below = rng.normal(size=20_000)[:, None] < forecast.quantiles[0, :, 0]
    np.testing.assert_allclose(below.mean(axis=0), levels, atol=0.02)
    np.testing.assert_array_equal(forecast.mean, native.mean)
    assert calibration.kind == "quantiles"


def test_few_windows_ask_for_wider_intervals_and_share_the_errors_of_neighbouring_steps() -> None:
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        walks = rng.normal(size=(6, HORIZON)).cumsum(axis=1)
        errors = walks[:5].T[None, None]  # [1, 1, H, 5]
        calibration = ConformalCalibration.of(errors, (0.1, 0.5, 0.9), disjoint=5)
        low, high = calibration.around(np.zeros((1, HORIZON)), np.ones(1), (0.1, 0.9)).quantiles[0]
        covered.append((low < walks[5]) & (walks[5] < high))
    assert 0.72 < np.mean(covered) < 0.88


def test_offsets_between_and_beyond_the_levels_kept_are_gaussian_and_in_order() -> None:
    levels = (0.5, 0.7, 0.9, 0.975, 0.999, 0.9999)
    quantiles = learned().around(np.zeros((1, 16)), np.ones(1), levels).quantiles[0]
    assert (np.diff(quantiles, axis=0) > 0).all()
    np.testing.assert_array_equal(quantiles[0], 0)
    normal = NormalDist().inv_cdf
    np.testing.assert_allclose(quantiles[5] / quantiles[4], normal(0.9999) / normal(0.999))
    assert quantiles[2, 15] == pytest.approx(2 * quantiles[2, 3]), "beyond H, as a random walk"


def test_channels_have_offsets_of_their_own_where_asked() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=(2, 600)) * np.array([[1.0], [10.0]])
    windows = Windows([Series(target=target)], context_length=20, horizon=HORIZON)

    def ones_at(batch):
        return np.zeros_like(batch.future)[:, :, None]

    own, shared = (
        ConformalCalibration.from_windows(windows, ones_at, 64, per_channel=per_channel)
        for per_channel in (True, False)
    )
    assert (own.offsets.shape[0], shared.offsets.shape[0]) == (2, 1)
    high = shared.around(np.zeros((1, HORIZON)), np.ones(1), (0.9,)).quantiles
    np.testing.assert_allclose(high, 1.28, atol=0.25)


def test_nothing_observed_is_refused() -> None:
    with pytest.raises(BadData, match="no window"):
        ConformalCalibration.of(np.full((1, 1, 2, 3), np.nan), LEVELS, disjoint=3)


def test_what_was_learned_is_kept_in_a_file(tmp_path) -> None:
    calibration = learned(30)
    calibration.save(tmp_path)
    loaded = ConformalCalibration.load(tmp_path)
    np.testing.assert_array_equal(loaded.offsets, calibration.offsets)
    assert (loaded.levels, loaded.kind) == (LEVELS, "point")
    assert ConformalCalibration.load(tmp_path / "elsewhere") is None


OLD = {"coverages": [0.5], "radii": [[[1.0]]]}
MISSHAPED = {"format_version": 2, "kind": "point", "levels": [0.5, 0.9], "offsets": [[[1.0]]]}
INFINITE = MISSHAPED | {"levels": [0.5], "offsets": [[[float("inf")]]]}


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", *(json.dumps(document) for document in (OLD, MISSHAPED, INFINITE))]
)
def test_a_file_of_an_older_format_or_a_spoilt_one_is_refused(tmp_path, text) -> None:
    (tmp_path / CALIBRATION_FILE).write_text(text)
    with pytest.raises(BadData, match=CALIBRATION_FILE):
        ConformalCalibration.load(tmp_path)
