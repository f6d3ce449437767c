"""Checkpoints of an unfinished training: how many there are, and what a damaged one costs."""

import logging

import pytest

from forecast.core.errors import InvalidRequest
from forecast.core.state import TrainingState
from tests.models.base.linear_model import LinearConfig, LinearModel, waves, weights_of

EPOCHS = 4
STEPS = [13, 26, 39, 52]  # of 4 passes over 4 · 101 windows in batches of 32


def model(**options) -> LinearModel:
    return LinearModel(LinearConfig(**{"device": "cpu", "max_epochs": EPOCHS} | options))


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def pairs(*steps):
    return sorted(f"step-{step:08d}.{end}" for step in steps for end in ("json", "pt"))


@pytest.fixture
def folder(tmp_path):
    """Checkpoints after each pass of a training that is over, the newest three."""
    model().fit(waves(), waves(1), checkpoints=tmp_path / "made")
    return tmp_path / "made"


def test_the_newest_three_are_kept_and_nothing_else_lies_there(folder):
    assert names(folder) == pairs(*STEPS[-3:])


def test_as_many_are_kept_as_the_model_is_told(tmp_path):
    one = model()
    one.kept_checkpoints = 1
    one.fit(waves(), checkpoints=tmp_path)
    assert names(tmp_path) == pairs(STEPS[-1])


def test_each_says_what_it_is(folder):
    states = [
        TrainingState.model_validate_json(file.read_bytes()) for file in folder.glob("*.json")
    ]
    newest = max(states, key=lambda state: state.global_step)
    assert (newest.global_step, newest.epoch) == (STEPS[-1], EPOCHS)
    assert newest.state_file == f"step-{STEPS[-1]:08d}.pt"
    assert newest.random_states == ("cpu",)
    assert newest.best_metric == model().fit(waves(), waves(1)).best_metrics_["validation_loss"]
    assert len({state.identity for state in states}) == 1


@pytest.mark.parametrize("end", ["pt", "json"])
@pytest.mark.parametrize("damage", ["cut off", "changed", "gone"])
def test_of_a_damaged_one_the_one_before_is_taken(folder, caplog, end, damage):
    file = folder / f"step-{STEPS[-1]:08d}.{end}"
    spoil(file, damage)
    heard = []
    with caplog.at_level(logging.WARNING):
        resumed = model().fit(waves(), waves(1), checkpoints=folder, on_progress=heard.append)
    assert heard[0].step > STEPS[-2]  # the last pass alone is repeated
    assert same(resumed, model().fit(waves(), waves(1)))
    assert (end, damage) == ("json", "gone") or "is damaged" in caplog.text


def spoil(file, damage):
    if damage == "gone":
        file.unlink()
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.write_bytes(b"\x00" * file.stat().st_size)


def test_where_all_are_damaged_it_begins_again(folder):
    for file in folder.iterdir():
        spoil(file, "cut off")
    heard = []
    again = model().fit(waves(), waves(1), checkpoints=folder, on_progress=heard.append)
    assert heard[0].step == STEPS[0]
    assert same(again, model().fit(waves(), waves(1)))
    assert names(folder) == pairs(*STEPS[-3:])


def test_the_checkpoints_of_another_training_are_refused_and_stay(folder):
    before = names(folder)
    with pytest.raises(InvalidRequest, match="holds another training"):
        model(learning_rate=0.5).fit(waves(), waves(1), checkpoints=folder)
    assert names(folder) == before


def same(one, other):
    theirs = weights_of(other)
    return all(weight.equal(theirs[name]) for name, weight in weights_of(one).items())
