import json
from statistics import NormalDist

import numpy as np
import pytest

from forecast.core.errors import BadData
from forecast.core.types import Series
from forecast.models.base.calibration import (
    CALIBRATION_FILE,
    LearnedErrors,
    calibrated,
    conformal_offsets,
    conformal_radii,
    scale_of,
)
from forecast.models.base.windows import Windows

LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)


def noisy(windows: int, channels: int = 1, horizon: int = 4, seed: int = 0) -> np.ndarray:
    """Errors of step h with standard deviation h: [N, C, H]."""
    steps = np.arange(1, horizon + 1)
    return np.random.default_rng(seed).normal(size=(windows, channels, horizon)) * steps


def learned(windows: int = 4000) -> LearnedErrors:
    errors = noisy(windows)
    return LearnedErrors.of(errors, np.zeros_like(errors), np.ones(errors.shape[:2]))


def test_the_radius_is_the_error_of_the_conformal_rank():
    radii = conformal_radii(np.array([-3.0, 1.0, np.nan, 2.0, -4.0]), np.array([0, 0.2, 0.5, 0.8]))
    np.testing.assert_array_equal(radii, [0, 1, 3, 4])  # ranks 0, 1, 3 and 4 of 4


def test_beyond_the_largest_error_the_radius_is_gaussian_and_never_smaller():
    errors = np.array([1.0, -1.0])
    wide = conformal_radii(errors, np.array([0.7, 0.99]))
    assert wide[0] == pytest.approx(NormalDist().inv_cdf(0.85))
    assert wide[1] == pytest.approx(NormalDist().inv_cdf(0.995))
    assert conformal_radii(np.array([5.0, 0.0]), np.array([0.7]))[0] == 5.0


def test_without_errors_the_radius_is_zero():
    np.testing.assert_array_equal(conformal_radii(np.full((2, 3), np.nan), np.array([0.5])), 0)


def test_the_median_is_the_point_forecast_and_quantiles_are_in_order():
    point = np.array([[1.0, 2.0]])
    radii = np.array([[[4.0, 4.0], [3.0, 3.0], [0.0, 0.0], [3.0, 3.0], [4.0, 4.0]]])
    forecast = calibrated(point, radii, LEVELS)
    np.testing.assert_array_equal(forecast.mean, point)
    np.testing.assert_array_equal(forecast.quantiles[0, :, 0], [-3, -2, 1, 4, 5])


def test_learned_errors_cover_what_comes_at_every_step():
    forecast = learned().forecast(np.zeros((1, 4)), np.ones(1), (0.1, 0.9))
    fresh = noisy(20_000, seed=1)[:, 0]
    inside = (fresh >= forecast.quantiles[0, 0]) & (fresh <= forecast.quantiles[0, 1])
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=0.02)


def test_width_follows_the_scale_of_the_series_and_a_constant_has_none():
    levels = (0.1, 0.9)
    one = learned().forecast(np.zeros((2, 4)), np.array([1.0, 3.0]), levels).quantiles
    np.testing.assert_allclose(one[1], 3 * one[0])
    flat = learned().forecast(np.ones((1, 4)), scale_of(np.full((1, 9), 7.0)), levels)
    np.testing.assert_array_equal(flat.quantiles, 1.0)


def test_beyond_the_steps_learned_errors_grow_as_of_a_random_walk():
    quantiles = learned().forecast(np.zeros((1, 16)), np.ones(1), (0.9,)).quantiles[0, 0]
    assert quantiles[15] == pytest.approx(2 * quantiles[3])


def test_levels_beyond_those_kept_are_gaussian_and_stay_in_order():
    levels = (0.9, 0.99, 0.999, 0.9999)
    quantiles = learned().forecast(np.zeros((1, 4)), np.ones(1), levels).quantiles[0]
    assert (np.diff(quantiles, axis=0) > 0).all()
    np.testing.assert_allclose(
        quantiles[3] / quantiles[2],
        NormalDist().inv_cdf(0.9999) / NormalDist().inv_cdf(0.999),
    )


def test_channels_have_radii_of_their_own_where_asked():
    errors = noisy(500, channels=2) * np.array([1.0, 10.0])[:, None]
    scale = np.ones((500, 2))
    own = LearnedErrors.of(errors, np.zeros_like(errors), scale, per_channel=True)
    shared = LearnedErrors.of(errors, np.zeros_like(errors), scale)
    point = np.zeros((2, 4))
    apart = own.forecast(point, np.ones(2), (0.9,)).quantiles
    together = shared.forecast(point, np.ones(2), (0.9,)).quantiles
    assert (apart[1] > 5 * apart[0]).all()
    np.testing.assert_array_equal(together[0], together[1])


def test_a_step_never_observed_takes_the_radius_of_the_step_before():
    errors = noisy(50)
    errors[:, :, [0, 2]] = np.nan
    radii = LearnedErrors.of(errors, np.zeros_like(errors), np.ones((50, 1))).radii[0]
    np.testing.assert_array_equal(radii[:, 0], radii[:, 1])
    np.testing.assert_array_equal(radii[:, 2], radii[:, 1])
    assert (radii[1:, 3] != radii[1:, 2]).all()


def test_nothing_observed_is_refused():
    with pytest.raises(BadData, match="no window"):
        LearnedErrors.of(np.full((3, 1, 2), np.nan), np.zeros((3, 1, 2)), np.ones((3, 1)))


def test_errors_are_learned_from_the_windows_of_series():
    rng = np.random.default_rng(0)
    series = [Series(target=rng.normal(size=(1, 300)))]
    windows = Windows(series, context_length=20, horizon=4)
    errors = LearnedErrors.from_windows(windows, lambda batch: np.zeros_like(batch.future), 64)
    forecast = errors.forecast(np.zeros((1, 4)), np.ones(1), (0.1, 0.9))
    np.testing.assert_allclose(forecast.quantiles[0, 1], 1.28, atol=0.25)


def test_what_was_learned_is_kept_in_a_file(tmp_path):
    errors = learned(30)
    errors.save(tmp_path)
    np.testing.assert_allclose(LearnedErrors.load(tmp_path).radii, errors.radii, atol=1e-6)
    assert LearnedErrors.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"radii": [[1]]}', '{"coverages": [0.5], "radii": [[[1.0]]]}']
)
def test_a_spoilt_file_is_refused(tmp_path, text):
    (tmp_path / CALIBRATION_FILE).write_text(text)
    with pytest.raises(BadData, match=CALIBRATION_FILE):
        LearnedErrors.load(tmp_path)


def test_a_negative_radius_is_refused(tmp_path):
    learned(30).save(tmp_path)
    document = json.loads((tmp_path / CALIBRATION_FILE).read_text())
    document["radii"][0][3][0] = -1.0
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(document))
    with pytest.raises(BadData, match=CALIBRATION_FILE):
        LearnedErrors.load(tmp_path)


def test_the_scale_is_that_of_what_is_observed():
    context = np.array([[1.0, np.nan, 3.0], [np.nan] * 3, [2.0, 2.0, np.nan]])
    np.testing.assert_array_equal(scale_of(context), [1.0, 0.0, 0.0])


def test_offsets_are_those_of_each_side_and_mirror_when_the_errors_do() -> None:
    errors = np.random.default_rng(0).exponential(1.0, 99) - 0.5
    levels = (0.1, 0.5, 0.9)

    offsets = conformal_offsets(errors, levels)

    assert offsets[2] == np.sort(errors)[89]  # ⌈100 · 0.9⌉-th of 99
    assert offsets[1] == 0
    assert offsets[0] == np.sort(errors)[9]
    np.testing.assert_array_equal(conformal_offsets(-errors, levels), -offsets[::-1])


def test_offsets_beyond_the_outermost_error_are_gaussian_and_contain_the_point() -> None:
    few = np.array([1.0, 1.0, 1.0])

    low, high = conformal_offsets(few, (0.1, 0.9))

    assert low == pytest.approx(-1.2816, abs=1e-4)
    assert high == pytest.approx(1.2816, abs=1e-4)
    np.testing.assert_array_equal(conformal_offsets(np.array([np.nan]), (0.1, 0.9)), [0, 0])
