"""The generator, the features and a short pretraining, resumed, as the command runs it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from forecast.models.sprout.features import features
from forecast.models.sprout.forward import forward
from forecast.models.sprout.generator.drawing import LENGTH, autoregressed
from forecast.models.sprout.generator.simulation import hints, simulate
from forecast.models.sprout.scaling import standardise
from forecast.models.sprout.windows import training_windows

torch = pytest.importorskip("torch")


def test_simulated_series_are_finite_and_those_of_their_seed():
    first, again, other = (simulate(np.random.default_rng(seed), 300) for seed in (1, 1, 2))
    assert first.values.shape == (300, LENGTH)
    assert np.isfinite(first.values).all()
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    assert first.seen.min() >= 1
    assert (first.values.std(axis=1) > 0).mean() > 0.95


def test_the_inputs_of_a_longer_horizon_begin_with_those_of_a_shorter_one():
    values = standardise(np.random.default_rng(0).standard_normal((3, 768))).values
    seasons = np.array([[24, 168], [7, 1], [1, 1]])
    short, long = (features(values, seasons, horizon) for horizon in (16, 128))
    np.testing.assert_array_equal(short.steps, long.steps[:, : short.steps.shape[1]])
    np.testing.assert_array_equal(short.experts, long.experts[:, :, :16])


def test_numpy_and_torch_run_the_same_network():
    from forecast.models.sprout.network import SproutNetwork, from_arrays, to_arrays

    torch.manual_seed(0)
    network = SproutNetwork(64)
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.05 * torch.randn_like(weights)
        inputs = training_windows(np.random.default_rng(0), 64).inputs
        asked = [torch.from_numpy(np.ascontiguousarray(values)) for values in inputs]
        expected = network(*asked).numpy()
        again = from_arrays(to_arrays(network))(*asked).numpy()
    np.testing.assert_allclose(forward(to_arrays(network), inputs), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(again, expected)


def test_a_pretraining_learns_resumes_and_writes_weights_that_serve(tmp_path, monkeypatch):
    from forecast.models.sprout import pretrain
    from forecast.models.sprout.model import SproutModel

    monkeypatch.setattr(pretrain, "_VALIDATION_PARTS", 1)

    def run(windows):
        command = f"pretrain --windows {windows} --widths 16 --processes 1 --report-every 0"
        monkeypatch.setattr("sys.argv", [*command.split(), "--out", str(tmp_path)])
        pretrain.main()

    run(1024)
    run(2048)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["windows"] for line in log] == [128 * part for part in range(1, 17)]
    assert log[-1]["validation_16"] < log[0]["validation_16"]
    weights = load_file(tmp_path / "sprout-16.safetensors")
    kept_back = training_windows(np.random.default_rng((pretrain.VALIDATION_SEED, 0)), 128)
    found, asked = forward(weights, kept_back.inputs), kept_back.weights
    inside = (found[:, 0] <= kept_back.targets) & (kept_back.targets <= found[:, -1])
    assert 0.8 < (inside * asked).sum() / asked.sum() < 0.87
    (tmp_path / "sprout-16.safetensors").rename(tmp_path / "sprout.safetensors")
    assert SproutModel.load_model(tmp_path).is_fitted is False


def test_a_pretraining_that_is_told_to_end_leaves_no_process_behind(tmp_path):
    command = [sys.executable, "-m", "forecast.models.sprout.pretrain", "--out", str(tmp_path)]
    with subprocess.Popen([*command, "--widths", "16", "--processes", "2"]) as training:
        listed = Path(f"/proc/{training.pid}/task/{training.pid}/children")
        give_up = time.monotonic() + 120
        while len(children := listed.read_text().split()) < 2:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        training.terminate()
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_autoregression_follows_its_definition():
    shocks = np.random.default_rng(0).standard_normal((5, 300))
    coefficient = np.array([0.0, 0.5, 0.97, -0.8, 1.0])
    expected = shocks.copy()
    for step in range(1, 300):
        expected[:, step] += coefficient * expected[:, step - 1]
    np.testing.assert_allclose(autoregressed(shocks, coefficient), expected, atol=1e-9)


def test_hints_name_weeks_that_are_not_there_as_a_frequency_does():
    seasons = np.tile([24, 1], (4000, 1))
    told = hints(np.random.default_rng(0), seasons)
    given = told[told[:, 0] > 0]
    assert 0.55 < len(given) / len(told) < 0.65
    right = (given[:, 0] == 24).mean()
    weeks = ((given[:, 0] == 24) & (given[:, 1] == 168)).mean()
    assert right > 0.9
    assert 0.3 < weeks < 0.5
    assert given.max() <= 384
