"""A forecasting head is trained on the encoder that was published."""

import numpy as np
import pytest
import torch

pytest.importorskip("momentfm", reason="its own environment has it: ./setup.sh env moment")

from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig
from forecast.models.moment.model import MomentModel

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft
HORIZON = 12


def fast(folders, kind="reconstruction", **options):
    settings = {
        "device": "cpu",
        "learning_rate": 1e-2,
        "horizon": HORIZON,
        "batch_size": 16,
        "max_steps": 100,
        "max_epochs": None,
        "stride": 3,
    }
    return MomentModel.load_model(folders[kind], **(settings | options))


def sine(steps=300, phase=0.0):
    return Series(target=100 + 8 * np.sin(2 * np.pi * np.arange(steps) / 12 + phase)[None])


def error_of(model, series):
    past = Series(target=series.target[:, :-HORIZON])
    (forecast,) = model.predict([past], ForecastTask(HORIZON, ()))
    return np.abs(forecast.mean - series.target[:, -HORIZON:]).mean()


def changed(before, after):
    weights = dict(before.network.named_parameters())
    return {
        name
        for name, weight in after.network.named_parameters()
        if name not in weights
        or weights[name].shape != weight.shape
        or not torch.equal(weight, weights[name])
    }


@pytest.fixture(scope="module")
def trained(folders):
    return fast(folders).fit([sine()], [sine(phase=1.0)])


def test_a_linear_probe_learns_a_sine_better_than_the_last_value_is(folders, trained):
    later = sine(100, phase=2.0)
    last = later.target[:, -HORIZON - 1 : -HORIZON]
    naive = np.abs(last - later.target[:, -HORIZON:]).mean()
    assert error_of(trained, later) < 0.4 * min(naive, error_of(fast(folders), later))
    assert trained.has_forecasting_head


def test_a_linear_probe_changes_the_head_and_nothing_else(folders, trained):
    names = changed(fast(folders), trained)
    assert names == {"head.linear.weight", "head.linear.bias"}


def test_training_all_changes_the_encoder_too(folders):
    names = changed(fast(folders), fast(folders, tuning="full", max_steps=3).fit([sine()]))
    assert any(name.startswith("encoder.") for name in names)
    assert any(name.startswith("patch_embedding.") for name in names)


def test_adapters_change_q_and_v_beside_the_new_head(folders):
    tuned = fast(folders, lora=LoraConfig(rank=2), max_steps=5).fit([sine()])
    names = changed(fast(folders), tuned)
    adapted = {name.split(".")[-2] for name in names if not name.startswith("head.")}
    assert adapted == {"q", "v"}
    assert {name for name in names if name.startswith("head.")}


def test_trained_weights_are_saved_and_loaded_with_all_that_was_learned(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    loaded = MomentModel.load_model(tmp_path / "saved")
    assert loaded.training_ == trained.training_
    task = ForecastTask(30, (0.1, 0.9))
    one, other = (model.predict([sine(90)], task)[0] for model in (trained, loaded))
    np.testing.assert_allclose(one.quantiles, other.quantiles, rtol=1e-5)
    assert "from the forecast itself" in one.warnings[0]


def test_its_quantiles_are_those_of_the_validation_windows(trained):
    assert trained.calibration_ is not None
    (forecast,) = trained.predict([sine(90)], ForecastTask(HORIZON, (0.1, 0.9)))
    assert (forecast.quantiles[0, 1] > forecast.quantiles[0, 0]).all()


def test_the_same_seed_gives_the_same_weights(folders):
    one, other = (fast(folders, max_steps=4, seed=3).fit([sine()]) for _ in range(2))
    assert changed(one, other) == set()
    assert changed(one, fast(folders, max_steps=4, seed=4).fit([sine()]))


def test_an_interrupted_training_goes_on_where_it_was(folders, tmp_path):
    options = {"max_steps": None, "max_epochs": 2, "stride": 12}
    whole = fast(folders, **options).fit([sine()])
    fast(folders, **options).fit([sine()], checkpoints=tmp_path, on_progress=lambda _: False)
    resumed = fast(folders, **options).fit([sine()], checkpoints=tmp_path)
    assert changed(whole, resumed) == set()


def test_a_trained_head_is_trained_on_and_one_of_another_horizon_made_anew(folders, trained):
    task = ForecastTask(4, ())
    again = fast(folders, "forecasting", horizon=16, max_steps=1, learning_rate=1e-9).fit([sine()])
    before = fast(folders, "forecasting")
    one, other = (model.predict([sine(90)], task)[0].mean for model in (before, again))
    np.testing.assert_allclose(one, other, rtol=1e-3)
    anew = fast(folders, "forecasting", horizon=8, max_steps=1).fit([sine()])
    assert anew.network.head.linear.out_features == 8


def test_a_training_that_fails_leaves_what_was_loaded(folders):
    def fail(progress):
        raise KeyboardInterrupt

    model = fast(folders, tuning="full", max_steps=50)
    before = model.predict([sine(60)], ForecastTask(8, ()))[0].mean
    with pytest.raises(KeyboardInterrupt):
        model.fit([sine()], on_progress=fail)
    np.testing.assert_array_equal(model.predict([sine(60)], ForecastTask(8, ()))[0].mean, before)
    assert not model.has_forecasting_head


def test_short_series_and_gaps_are_learned_from(folders):
    short = sine(20)
    short.target[0, [1, 2, 18]] = np.nan
    model = fast(folders, max_steps=3).fit([short])
    assert np.isfinite(model.predict([sine(30)], ForecastTask(5, ()))[0].mean).all()
