from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig
from forecast.models.base.features import Features
from forecast.models.ttm.contexts import Contexts
from forecast.models.ttm.mixing import NEW_MODULES, with_mixing
from forecast.models.ttm.model import TTMModel
from forecast.models.ttm.network import Beside, run
from forecast.models.ttm.tiny import write_tiny
from tests.models.ttm.waves import promoted, wave

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft
TASK = ForecastTask(horizon=16, quantile_levels=(0.1, 0.5, 0.9))
QUICK = {"max_epochs": 2, "stride": 4, "batch_size": 32, "device": "cpu", "known_ahead": ("promo",)}


def loaded(folder: Path, **options: object) -> TTMModel:
    return TTMModel.load_model(folder, **(QUICK | options))


@pytest.fixture(scope="module")
def tuned(folders: dict[str, Path]) -> TTMModel:
    """Trained for a moment: for tests of what it takes, not of how good it is."""
    return loaded(folders["r2"]).fit([promoted(150)], [promoted(150, seed=1)])


def test_what_is_known_ahead_is_learned(folders):
    model = loaded(folders["r2"], max_epochs=8, stride=3, learning_rate=3e-2)
    model.fit([promoted(300), promoted(300, seed=1)], [promoted(100, seed=2)])
    series = promoted(64, seed=3, horizon=16)
    promo = series.future_covariates["promo"]
    mean = model.predict([series], TASK)[0].mean[0]
    assert mean[promo == 1].mean() - mean[promo == 0].mean() == pytest.approx(20, abs=4)
    np.testing.assert_allclose(mean, 10 + 20 * promo, atol=5)


def test_a_network_with_covariates_starts_as_the_one_without(model):
    features = Features.of([promoted(100)], ["promo"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mixing = with_mixing(model.network, features).eval()
    series = features.with_training_scales(promoted(64, horizon=16))
    contexts = Contexts.of([series], 32, 16, features)
    past = torch.from_numpy(contexts.past.astype(np.float32))
    seen = torch.ones_like(past, dtype=torch.bool)
    ahead = torch.from_numpy(contexts.ahead.astype(np.float32))
    with torch.no_grad():
        new = run(mixing, past, seen, Beside(ahead, 1))
        old = run(model.network, past[:, :1], seen[:, :1], Beside())
    torch.testing.assert_close(new.mean, old.mean)
    if old.quantiles is not None:
        torch.testing.assert_close(new.quantiles, old.quantiles)


def test_every_kind_is_trained_with_covariates_and_saved(kind, folders, tmp_path):
    model = loaded(folders[kind], learning_rate=1e-2).fit([promoted(150)])
    series = promoted(50, seed=3, horizon=16)
    forecast = model.predict([series], TASK)[0]
    none = {"promo": np.zeros(16)}
    assert not np.allclose(
        forecast.mean, model.predict([replace(series, future_covariates=none)], TASK)[0].mean
    )
    model.save_model(tmp_path / "saved")
    again = TTMModel.load_model(tmp_path / "saved")
    assert again.features == model.features
    np.testing.assert_allclose(
        again.predict([series], TASK)[0].quantiles, forecast.quantiles, rtol=1e-5
    )


def test_training_again_goes_on_with_the_same_covariates(tuned, tmp_path):
    tuned.save_model(tmp_path / "saved")
    again = TTMModel.load_model(tmp_path / "saved", learning_rate=1e-2)
    again.fit([promoted(150, seed=5)])
    assert again.features == tuned.features
    with pytest.raises(InvalidRequest, match="promo"):
        again.fit([wave(150)])


@pytest.mark.parametrize("horizon", [1, 16, 40])
@pytest.mark.parametrize("length", [3, 40, 100])
def test_any_horizon_and_length_is_forecast_with_covariates(tuned, horizon, length):
    task = replace(TASK, horizon=horizon)
    forecast = tuned.predict([promoted(length, horizon=horizon)], task)[0]
    assert forecast.mean.shape == (1, horizon)
    assert np.isfinite(forecast.quantiles).all()


def test_answers_are_the_same_in_any_company(tuned):
    batch = [promoted(length, seed=length, horizon=16) for length in (20, 33, 90)]
    together = tuned.predict(batch, TASK)
    for series, one in zip(batch, together, strict=True):
        alone = tuned.predict([series], TASK)[0]
        np.testing.assert_allclose(one.quantiles, alone.quantiles, rtol=1e-4, atol=1e-4)


def test_gaps_in_covariates_are_coped_with(tuned):
    series = promoted(60, horizon=16)
    series.past_covariates["noise"][:] = np.nan
    series.past_covariates["promo"][5:9] = np.nan
    series.future_covariates["promo"][3] = np.nan
    assert np.isfinite(tuned.predict([series], TASK)[0].quantiles).all()


def test_what_a_request_lacks_or_adds_is_named(tuned):
    series = promoted(60, horizon=16)
    only_past = replace(series, future_covariates={})
    with pytest.raises(InvalidRequest, match=r"lacks the future values of covariate promo"):
        tuned.predict([only_past], TASK)
    without = replace(series, past_covariates={"promo": series.past_covariates["promo"]})
    with pytest.raises(InvalidRequest, match="noise"):
        tuned.predict([without], TASK)
    more = replace(series, past_covariates={**series.past_covariates, "wind": np.zeros(60)})
    with pytest.raises(InvalidRequest, match="wind"):
        tuned.predict([more], TASK)
    two = replace(series, target=np.concatenate([series.target] * 2), channels=("a", "b"))
    with pytest.raises(InvalidRequest, match="2 channels"):
        tuned.predict([two], TASK)


def test_a_covariate_that_was_not_trained_on_may_be_ignored(tuned):
    series = promoted(60, horizon=16)
    more = replace(series, past_covariates={**series.past_covariates, "wind": np.zeros(60)})
    task = replace(TASK, options=tuned.spec.options(ignore_covariates=True))
    np.testing.assert_allclose(
        tuned.predict([more], task)[0].mean, tuned.predict([series], TASK)[0].mean
    )


def test_a_published_checkpoint_takes_no_covariates(model):
    assert not model.capabilities.past_covariates
    with pytest.raises(InvalidRequest, match="promo"):
        model.predict([promoted(60, horizon=16)], TASK)


def test_a_name_known_ahead_that_is_no_covariate_is_refused(folders):
    with pytest.raises(InvalidRequest, match="price"):
        loaded(folders["r2"], known_ahead=("price",)).fit([promoted(150)])


def test_with_adapters_new_modules_are_trained_whole(folders):
    model = loaded(folders["r2"], lora=LoraConfig(rank=2), learning_rate=1e-2)
    model.fit([promoted(150)])
    assert set(NEW_MODULES) <= set(model.config.lora.modules_to_save)
    weights = model.network.state_dict()
    assert weights["head.fcm_block.mlp.weight"].abs().max() > 0
    assert not [name for name in weights if "lora" in name]
    model.predict([promoted(60, horizon=16)], TASK)


def test_channels_learn_from_each_other_where_asked(folders):
    """Both channels are noise, but one says what the other will do 16 steps later."""
    rng = np.random.default_rng(0)

    def pair(length: int) -> Series:
        noise = rng.normal(size=length + 16)
        return Series(target=np.stack([noise[:-16], noise[16:]]), channels=("late", "early"))

    model = loaded(
        folders["r2"], known_ahead=(), mix_channels=True, max_epochs=8, learning_rate=3e-2, stride=3
    )
    model.fit([pair(800)], [pair(100)])
    task = replace(TASK, quantile_levels=())
    batch = [pair(60) for _ in range(30)]
    errors = [
        np.abs(forecast.mean[0] - series.target[1, -16:]).mean()
        for series, forecast in zip(batch, model.predict(batch, task), strict=True)
    ]
    assert np.mean(errors) < 0.6  # 0.8 is what ignorance of the other channel costs


def test_a_quantile_head_that_reads_every_channel_cannot_take_covariates(tmp_path):
    write_tiny(tmp_path, "r3", mq_use_decoder_pool=True)
    with pytest.raises(InvalidRequest, match="covariates cannot be added"):
        loaded(tmp_path).fit([promoted(150)])
    loaded(tmp_path, known_ahead=()).fit([wave(150)])
