"""No validation window of any family forecasts a step that was trained on."""

from typing import Any

import numpy as np
import pytest

from forecast.core.errors import NotTrainable
from forecast.core.frequency import Frequency
from forecast.core.types import Series
from forecast.models.base.config import TrainingMode
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.training.plan import Validation
from forecast.training.splitting import split

LENGTHS = (420, 300, 280)


class Cut(Exception):
    """The validation windows of a fit, in batches."""


def rising(length: int) -> Series:
    """A line: where a window begins can be read from its values, however it was scaled."""
    return Series(
        target=np.arange(float(length))[None],
        item_id=f"{length} steps",
        start=np.datetime64("2023-01-01", "s"),
        freq=Frequency.parse("D"),
    )


@pytest.fixture
def trainable(model, tmp_path) -> BaseTimeSeriesModel:
    """A copy of a tiny model, to be trained for one step."""
    if not model.chooses_by_validation:
        pytest.skip("nothing is chosen by validation")
    model.save_model(tmp_path / "tiny")
    copied = type(model).load_model(tmp_path / "tiny", device="cpu")
    changes: dict[str, Any] = {"max_steps": 1, "max_epochs": None, "batch_size": 512}
    if model.spec.capabilities.fine_tunable:
        changes["training_mode"] = TrainingMode.FINE_TUNE
    copied.config = copied.config.model_copy(update=changes)
    try:
        assert copied.training_horizon > 1
    except NotTrainable as refused:
        pytest.skip(str(refused))
    return copied


@pytest.mark.parametrize("validation", [Validation(), Validation(horizons=1)])
def test_no_validation_window_forecasts_a_step_that_was_trained_on(
    trainable, monkeypatch, validation
):
    series = [rising(length) for length in LENGTHS]
    parts = split(series, validation, trainable.training_horizon)
    assert [one.length for one in parts.train] == list(parts.first_validation_steps)
    futures, of_series = seen(trainable, monkeypatch, parts)
    assert len(futures) > 0
    slope = futures[:, 1] - futures[:, 0]
    for number, (one, first) in enumerate(
        zip(parts.validation, parts.first_validation_steps, strict=True)
    ):
        own = of_series == number
        last = futures[own, -1].max()  # of the newest window: the last step of the series
        begins = one.length - 1 - np.round((last - futures[own, 0]) / slope[own])
        assert begins.min() >= first
        assert begins.min() == first  # and none is lost either
        assert begins.max() == one.length - futures.shape[1]
    if validation.horizons == 1:
        assert len(futures) == len(LENGTHS)  # one window of one horizon of the model each


def seen(model, monkeypatch, parts) -> tuple[np.ndarray, np.ndarray]:
    """Train until the validation windows are cut; their futures [N, H] and series [N]."""
    own = type(model)._validation_windows

    def cut(self, validation):
        raise Cut(list(own(self, validation).batches(512)))

    monkeypatch.setattr(type(model), "_validation_windows", cut)
    with pytest.raises(Cut) as ended:
        model.fit(
            parts.train, parts.validation, first_validation_steps=parts.first_validation_steps
        )
    batches = ended.value.args[0]
    futures = np.concatenate([batch.future[:, 0] for batch in batches]).astype(float)
    return futures, np.concatenate([batch.series for batch in batches])
