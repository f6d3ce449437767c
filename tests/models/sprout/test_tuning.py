"""Fine-tuning, whole and by adapters: what is learned, and that it serves without torch."""

import subprocess
import sys

import numpy as np
import pytest

from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig
from forecast.models.sprout.forward import forward
from forecast.models.sprout.model import SHIPPED, SproutModel
from forecast.models.sprout.windows import training_windows

torch = pytest.importorskip("torch")

HORIZON = 16
LEVELS = (0.1, 0.5, 0.9)
TASK = ForecastTask(HORIZON, LEVELS)
SMALL = {"horizon": HORIZON, "context_length": 96, "stride": 4, "max_steps": 60}


def answering(steps: int, seed: int) -> np.ndarray:
    """Simulate a level with jumps at any time, each of which wears off in a line of 12 steps."""
    rng = np.random.default_rng(seed)
    values = 20 + 0.3 * rng.standard_normal(steps + 12)
    step = int(rng.integers(0, 20))
    while step < steps:
        values[step : step + 12] += rng.uniform(4, 8) * np.linspace(1, 0, 12)
        step += int(rng.integers(14, 40))
    return values[:steps]


def series_of(values: np.ndarray) -> Series:
    return Series(np.atleast_2d(values))


def loaded(**config: object) -> SproutModel:
    return SproutModel.load_model(SHIPPED, **(SMALL | config))


def fit(model: SproutModel) -> SproutModel:
    train, validation = (
        [series_of(answering(steps, seed)) for seed in seeds]
        for steps, seeds in ((300, range(20)), (200, range(20, 24)))
    )
    return model.fit(train, validation)


@pytest.fixture(scope="module")
def tuned() -> SproutModel:
    return fit(loaded())


@pytest.fixture(scope="module")
def jumps() -> list[tuple[np.ndarray, np.ndarray]]:
    """What new series show up to the third step of a jump, and what comes after."""
    found = []
    for seed in range(100, 110):
        values = answering(400, seed)
        for step in np.flatnonzero(np.diff(values) > 2.5)[4:]:
            past, future = np.split(values, [step + 4])
            if len(future) >= HORIZON:
                found.append((past, future[:HORIZON]))
    return found


def error_after(jumps: list[tuple[np.ndarray, np.ndarray]], model: SproutModel) -> float:
    answers = model.predict([series_of(past) for past, _ in jumps], TASK)
    missed = [answer.mean[0] - future for answer, (_, future) in zip(answers, jumps, strict=True)]
    return float(np.abs(missed)[:, :9].mean())


def test_it_learns_a_shape_that_it_could_not_know(tuned, jumps):
    assert error_after(jumps, tuned) < 0.75 * error_after(jumps, SproutModel.tiny())


def test_its_intervals_are_calibrated_and_hold(tuned):
    whole = [answering(200, seed) for seed in range(100, 160)]
    answers = tuned.predict([series_of(values[:-HORIZON]) for values in whole], TASK)
    assert {answer.intervals for answer in answers} == {"conformal"}
    low, high = (np.stack([answer.quantiles[0, at] for answer in answers]) for at in (0, -1))
    future = np.stack(whole)[:, -HORIZON:]
    assert 0.7 < ((low <= future) & (future <= high)).mean() < 0.9


def test_saved_it_is_one_file_of_weights_and_answers_the_same(tuned, tmp_path):
    tuned.save_model(tmp_path / "saved")
    suffixes = {file.suffix for file in (tmp_path / "saved").rglob("*") if file.is_file()}
    assert suffixes == {".json", ".safetensors"}
    again = SproutModel.load_model(tmp_path / "saved")
    assert again.training_ == tuned.training_
    asked = [series_of(answering(150, 200))]
    for task in (TASK, ForecastTask(40, LEVELS, intervals="native")):
        one, other = (model.predict(asked, task)[0] for model in (tuned, again))
        np.testing.assert_array_equal(one.quantiles, other.quantiles)
        assert one.intervals == other.intervals == (task.intervals or "conformal")


def test_what_was_learned_in_torch_is_served_in_numpy(tuned):
    from forecast.models.sprout.network import from_arrays, tensors_of

    windows = training_windows(np.random.default_rng(0), 64)
    with torch.no_grad():
        *inputs, _, _ = tensors_of(windows, "cpu")
        expected = from_arrays(tuned._weights)(*inputs).numpy()
    np.testing.assert_allclose(
        forward(tuned._weights, windows.inputs), expected, rtol=1e-5, atol=1e-5
    )


def test_adapters_learn_it_with_a_few_percent_of_the_weights(jumps, monkeypatch):
    from forecast.models.sprout.tuning import TunedSprout

    counted = {}
    wrapped = TunedSprout._before_training

    def before(self, network):
        adapted = wrapped(self, network)
        for learns in (True, False):
            weights = [one for one in adapted.parameters() if one.requires_grad is learns]
            counted[learns] = sum(one.numel() for one in weights)
        return adapted

    monkeypatch.setattr(TunedSprout, "_before_training", before)
    model = fit(loaded(lora=LoraConfig(), learning_rate=1e-2))
    assert counted[True] < 0.03 * counted[False]
    assert error_after(jumps, model) < 0.75 * error_after(jumps, SproutModel.tiny())
    shipped = SproutModel.tiny()._weights
    changed = {name for name, own in model._weights.items() if (own != shipped[name]).any()}
    assert changed == {"patch", "head"}


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    series = [series_of(answering(150, seed)) for seed in range(3)]
    config = {"max_steps": 6, "batch_size": 16, "stride": 3}
    whole = loaded(**config).fit(series[:2], series[2:])

    def interrupt(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loaded(**config).fit(
            series[:2], series[2:], on_progress=interrupt, checkpoints=tmp_path / "kept"
        )
    assert any((tmp_path / "kept").iterdir())
    resumed = loaded(**config).fit(series[:2], series[2:], checkpoints=tmp_path / "kept")
    assert resumed.training_history_ == whole.training_history_
    for name, weight in whole._weights.items():
        np.testing.assert_array_equal(resumed._weights[name], weight)


def test_gaps_constants_and_channels_are_learned_from():
    both = np.stack([answering(120, 0), answering(120, 1)])
    both[0, 30:70] = np.nan
    both[1, ::2] = np.nan
    flat = np.full((2, 120), 7.0)
    unseen = np.stack([np.full(120, np.nan), answering(120, 2)])
    unseen[0, 100:] = answering(20, 3)
    series = [series_of(values) for values in (both, flat, unseen)]
    model = loaded(max_steps=3, stride=1).fit(series, first_validation_steps=())
    assert all(np.isfinite(weight).all() for weight in model._weights.values())
    assert model.training_history_[-1]["loss"] > 0
    assert np.isfinite(model.predict(series[:1], TASK)[0].quantiles).all()


def test_without_torch_it_says_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from forecast.core.errors import MissingLibrary\n"
        "from forecast.core.types import Series\n"
        "from forecast.models.sprout.model import SproutModel\n"
        "try:\n"
        "    SproutModel.tiny().fit([Series(np.arange(200.0)[None])])\n"
        "except MissingLibrary as error:\n"
        "    print(error.detail)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'forecast-gateway[networks]'" in found.stdout
