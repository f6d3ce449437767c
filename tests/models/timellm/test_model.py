"""Time-LLM trained on top of a tiny language model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2Model

from forecast.core.errors import BadData, InvalidRequest, ModelNotReady
from forecast.core.types import ForecastTask, Series
from forecast.models.timellm.model import TimeLlmModel
from forecast.models.timellm.prompts import Prompts, strongest_lags, tokens_of

HORIZON = 4
TASK = ForecastTask(horizon=HORIZON)
SMALL = {
    "device": "cpu",
    "context_length": 24,
    "horizon": HORIZON,
    "hidden_dim": 8,
    "num_attention_heads": 2,
    "head_dim": 16,
    "patch_length": 6,
    "patch_stride": 3,
    "num_prototypes": 16,
    "dropout": 0.0,
    "learning_rate": 1e-2,
    "batch_size": 16,
    "max_epochs": 10,
}


def sine(length: int = 200, *, phase: float = 0.0) -> Series:
    steps = np.arange(length)
    noise = np.random.default_rng(int(1000 * phase)).normal(0, 0.2, length)
    target = 100 + 10 * np.sin(2 * np.pi * steps / 12 + phase) + noise
    return Series(target=target[None], item_id=f"phase {phase}")


@pytest.fixture(scope="module")
def trained(language_folder) -> TimeLlmModel:
    model = TimeLlmModel.load_model(language_folder, **SMALL)
    return model.fit([sine()], [sine(80, phase=1.0)])


def test_it_learns_a_sine_better_than_the_last_value(trained):
    series = sine(100, phase=0.6)
    known = Series(target=series.target[:, :-HORIZON])
    actual = series.target[:, -HORIZON:]
    forecast = trained.predict([known], TASK)[0]
    naive = np.abs(known.target[:, -1:] - actual).mean()
    assert np.abs(forecast.mean - actual).mean() < naive / 2
    assert trained.best_metrics_["validation_loss"] > 0


def test_the_language_model_is_not_trained(trained, language_folder):
    published = AutoModel.from_pretrained(language_folder).state_dict()
    used = trained.network.llm.state_dict()
    assert all(torch.equal(published[name], weight) for name, weight in used.items())
    assert not any(weight.requires_grad for weight in trained.network.llm.parameters())


def test_saved_with_its_language_model_it_needs_nothing_else(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    weights = tmp_path / "saved" / "weights"
    stored = load_file(weights / "reprogramming.safetensors")
    held = trained.network.state_dict()
    missing = set(held) - {f"reprogramming.{name}" for name in stored}
    assert missing == {name for name in held if name.startswith("llm.")}
    assert not list(weights.rglob("*.bin"))

    loaded = TimeLlmModel.load_model(tmp_path / "saved")
    before, after = (model.predict([sine()], TASK)[0] for model in (trained, loaded))
    np.testing.assert_array_equal(before.quantiles, after.quantiles)
    assert loaded.training_ == trained.training_


def test_only_the_first_layers_are_kept(language_folder, tmp_path):
    one = TimeLlmModel.load_model(language_folder, **SMALL | {"max_steps": 1, "num_layers": 1})
    one.fit([sine(60)]).save_model(tmp_path / "saved")
    assert len(one.network.llm.h) == 1
    kept = load_file(tmp_path / "saved" / "weights" / "language_model" / "model.safetensors")
    assert not any(name.startswith("h.1.") for name in kept)
    loaded = TimeLlmModel.load_model(tmp_path / "saved")
    np.testing.assert_array_equal(
        loaded.predict([sine()], TASK)[0].mean, one.predict([sine()], TASK)[0].mean
    )


def test_fine_tuning_goes_on_and_leaves_the_loaded_network_alone(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    tuned = TimeLlmModel.load_model(
        tmp_path / "saved", training_mode="fine_tune", max_steps=1, learning_rate=1e-6
    )
    loaded = tuned.network
    tuned.fit([sine(60, phase=0.3)])
    assert tuned.network.llm is loaded.llm
    before, after = (each.reprogramming.state_dict() for each in (loaded, tuned.network))
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=0, atol=1e-5)
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert np.isfinite(tuned.predict([sine()], TASK)[0].mean).all()


def test_the_same_seed_gives_the_same_weights(language_folder):
    before = torch.get_rng_state()
    one, same = (
        TimeLlmModel.load_model(language_folder, **SMALL | {"max_steps": 2, "dropout": 0.1})
        .fit([sine(60)])
        .network.reprogramming.state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_says_nothing_and_leaves_no_files(language_folder, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    model = TimeLlmModel.load_model(language_folder, **SMALL | {"max_steps": 1, "num_layers": 1})
    model.fit([sine(60)])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_a_plain_language_model_is_not_ready_to_forecast(language_folder):
    model = TimeLlmModel.load_model(language_folder, **SMALL)
    with pytest.raises(ModelNotReady, match="train on top of it"):
        model.predict([sine()], TASK)


def test_without_a_language_model_nothing_can_be_trained():
    with pytest.raises(ModelNotReady, match="hf:openai-community/gpt2"):
        TimeLlmModel().fit([sine()])


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_pickled_weights_are_not_read(language_folder, tmp_path):
    folder = copied(language_folder, tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BadData, match="safetensors"):
        TimeLlmModel.load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_language_model_is_never_run(language_folder, tmp_path, name):
    folder = copied(language_folder, tmp_path / "with_code")
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(BadData, match="never run"):
        TimeLlmModel.load_model(folder)


def test_a_language_model_with_holes_is_refused(language_folder, tmp_path):
    folder = copied(language_folder, tmp_path / "holes")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 3}))
    with pytest.raises(BadData, match="lacks 12 weights"):
        TimeLlmModel.load_model(folder)


def test_a_folder_without_a_tokenizer_is_refused(language_folder, tmp_path):
    folder = copied(language_folder, tmp_path / "dumb")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(BadData, match="without its tokenizer"):
        TimeLlmModel.load_model(folder)


def test_a_tokenizer_of_another_language_model_is_refused(language_folder, tmp_path):
    folder = copied(language_folder, tmp_path / "mixed")
    config = json.loads((folder / "config.json").read_text())
    small = GPT2Config(**(config | {"vocab_size": 100}))
    GPT2Model(small).save_pretrained(folder)
    with pytest.raises(BadData, match="does not know"):
        TimeLlmModel.load_model(folder)


def test_more_patches_than_the_language_model_reads_are_refused(language_folder):
    sizes = {"context_length": 1600, "patch_stride": 3}
    model = TimeLlmModel.load_model(language_folder, **SMALL | sizes)
    with pytest.raises(InvalidRequest, match="512 tokens"):
        model.fit([sine(1700)])


def test_weights_of_another_shape_are_refused(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    with pytest.raises(BadData, match="num_prototypes"):
        TimeLlmModel.load_model(tmp_path / "saved", num_prototypes=8)


def test_the_prompt_says_what_the_context_is_like():
    prompt = Prompts(horizon=4, context_length=8, num_lags=2, domain="Load. ").of(
        torch.tensor([-1.0, 0.123456, 1.0, 0.0, -1.0, 0.0, 1.0, 0.5])
    )
    for words in ("Load. ", "next 4 steps", "previous 8 steps", "median value 0,", "upward"):
        assert words in prompt
    assert "[0, 4]" in prompt


def test_the_strongest_lags_are_those_of_the_season():
    wave = torch.sin(2 * torch.pi * torch.arange(48) / 12)
    assert set(strongest_lags(wave, 4)) == {0, 12, 24, 36}


def test_prompts_are_aligned_at_their_ends_and_lose_their_beginning(language_folder):
    tokenizer = AutoTokenizer.from_pretrained(language_folder)
    ids, mask = tokens_of(tokenizer, ["value value", "value"], longest=100)
    short = int(mask[1].sum())
    assert short < mask.shape[1] == int(mask[0].sum())
    assert mask[1].tolist() == [0] * (mask.shape[1] - short) + [1] * short
    cut, _ = tokens_of(tokenizer, ["value value"], longest=1)
    assert cut.tolist() == [ids[0, -1:].tolist()]
