"""Checkpoints in the library's own layout: answered as the library does, or refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats

from forecast.core.errors import BadData
from forecast.core.types import ForecastTask, Series
from forecast.models.patchtst.model import PatchTSTModel
from tests.models.patchtst.conftest import library_checkpoint

LEVELS = (0.05, 0.5, 0.8)
SCALES = np.array([[1.0], [50.0], [0.01]])


def three_channels(steps: int = 32) -> Series:
    walk = np.random.default_rng(0).standard_normal((3, steps)).cumsum(axis=1)
    return Series(target=100 * SCALES + SCALES * walk)


def asked_directly(network, series: Series):
    with torch.inference_mode():
        return network(past_values=torch.from_numpy(series.target.T[None]).double())


@pytest.mark.parametrize(
    "options",
    [{}, {"use_cls_token": True}, {"pooling_type": "mean"}, {"positional_encoding_type": "random"}],
    ids=str,
)
def test_the_mean_is_the_librarys_for_every_channel(tmp_path, options):
    network = library_checkpoint(tmp_path, **options).double()
    series = three_channels()
    ours = PatchTSTModel.load_model(tmp_path).predict([series], ForecastTask(8, ()))[0]
    theirs = asked_directly(network, series).prediction_outputs[0].numpy().T
    # the library adds 1e-5 to a variance, which for the smallest channel is not nothing
    np.testing.assert_allclose(ours.mean[:2], theirs[:2], rtol=1e-5)
    assert (np.abs(ours.mean[2] - theirs[2]) < 0.2 * SCALES[2]).all()


@pytest.mark.parametrize("distribution", ["student_t", "normal"])
def test_quantiles_are_those_of_the_librarys_distribution(tmp_path, distribution):
    network = library_checkpoint(tmp_path, loss="nll", distribution_output=distribution).double()
    series = three_channels()
    model = PatchTSTModel.load_model(tmp_path)
    ours = model.predict([series], ForecastTask(8, LEVELS))[0]
    answer = asked_directly(network, series)
    *shape, location, scale = (part[0].numpy() for part in answer.prediction_outputs)
    exact = stats.t(*shape) if shape else stats.norm
    standard = [location + scale * exact.ppf(level) for level in LEVELS]
    theirs = np.stack(standard) * answer.scale[0].numpy() + answer.loc[0].numpy()  # [Q, H, C]
    np.testing.assert_allclose(ours.quantiles[1], theirs[:, :, 1], rtol=1e-4)
    np.testing.assert_allclose(ours.quantiles[0], theirs[:, :, 0], rtol=1e-4)
    assert model.capabilities.quantiles == "native"


def test_samples_of_the_library_agree_with_the_quantiles(tmp_path):
    network = library_checkpoint(tmp_path, loss="nll", num_parallel_samples=2000)
    series = three_channels()
    torch.manual_seed(0)
    past = torch.from_numpy(series.target.T[None]).float()
    samples = network.generate(past_values=past).sequences[0, :, :, 1].numpy()
    task = ForecastTask(8, (0.2, 0.8))
    low, high = PatchTSTModel.load_model(tmp_path).predict([series], task)[0].quantiles[1]
    assert np.mean((low < samples) & (samples < high)) == pytest.approx(0.6, abs=0.02)


def test_a_checkpoint_saved_again_is_one_the_library_reads(tmp_path):
    library_checkpoint(tmp_path / "theirs")
    model = PatchTSTModel.load_model(tmp_path / "theirs")
    model.save_model(tmp_path / "ours")
    reread = type(model.network).from_pretrained(tmp_path / "ours" / "weights")
    for one, other in zip(reread.parameters(), model.network.parameters(), strict=True):
        assert torch.equal(one, other)


REFUSED = {
    "mixes channels": {"channel_attention": True},
    "only those that treat each alike": {"share_embedding": False},
    "does not standardise": {"scaling": "mean"},
    "'negative_binomial'": {"loss": "nll", "distribution_output": "negative_binomial"},
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_answered_wrongly_is_refused(tmp_path, what):
    library_checkpoint(tmp_path, **REFUSED[what])
    with pytest.raises(BadData, match=what):
        PatchTSTModel.load_model(tmp_path)


def edit_config(folder: Path, **fields: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_another_architecture_is_refused(tmp_path):
    library_checkpoint(tmp_path)
    edit_config(tmp_path, architectures=["PatchTSTForPretraining"])
    with pytest.raises(BadData, match="not trained to forecast"):
        PatchTSTModel.load_model(tmp_path)
    edit_config(tmp_path, model_type="bert")
    with pytest.raises(BadData, match="no checkpoint of PatchTST"):
        PatchTSTModel.load_model(tmp_path)


def test_a_config_that_does_not_fit_is_refused(tmp_path):
    library_checkpoint(tmp_path)
    edit_config(tmp_path, d_model=32)
    with pytest.raises(BadData, match="do not fit"):
        PatchTSTModel.load_model(tmp_path)


def test_holes_and_absences_are_refused(tmp_path):
    library_checkpoint(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["head.projection.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadData, match=r"lacks 1 weights, such as head\.projection\.bias"):
        PatchTSTModel.load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"spoilt")
    with pytest.raises(BadData, match="do not fit"):
        PatchTSTModel.load_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BadData, match=r"no model\.safetensors"):
        PatchTSTModel.load_model(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(BadData, match=r"no config\.json"):
        PatchTSTModel.load_model(tmp_path)
