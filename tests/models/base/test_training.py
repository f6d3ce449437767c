"""What is written about a training when it is over."""

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import forecast
from forecast.core.frequency import Frequency
from forecast.core.types import Series
from forecast.models.base.config import TrainingMode
from forecast.models.base.training import TrainingRecord, TrainingResult, data_sha256
from tests.models.base.linear_model import LinearConfig, LinearModel, waves

ONE = Series(
    target=np.array([[1.0, 2.0, np.nan]]),
    item_id="a",
    start=np.datetime64("2026-01-01", "s"),
    freq=Frequency.parse("D"),
    past_covariates={"price": np.array([1.0, 2.0, 3.0])},
    static_covariates={"store": "north"},
)


def test_a_fit_leaves_a_record_of_what_it_saw():
    before = datetime.now(UTC)
    dated = [
        replace(one, start=np.datetime64("2026-01-01", "s"), freq=Frequency.parse("D"))
        for one in waves(2, length=40)
    ]
    later = [replace(one.last(30), item_id="later") for one in dated[:1]]
    model = LinearModel(LinearConfig(device="cpu", max_epochs=2, seed=3))
    model.fit(dated, later, data_reference="waves, made up")
    record = model.training_
    assert record is not None
    assert record.metrics == model.best_metrics_
    assert record.history == model.training_history_
    assert record.mode is TrainingMode.FROM_SCRATCH
    assert before <= record.started_at <= record.finished_at <= datetime.now(UTC)
    assert record.seed == 3
    assert record.cutoff == datetime(2026, 2, 9, 23, 59, 59, tzinfo=UTC)
    assert record.item_ids == ("wave 0", "wave 1", "later")
    assert record.num_points == 40 + 40 + 30
    assert record.data_sha256 == data_sha256([*dated, *later])
    assert record.data_reference == "waves, made up"


def test_without_times_there_is_no_cutoff():
    assert record_of(waves(1)).cutoff is None


def record_of(series: list[Series]) -> TrainingRecord:
    return TrainingRecord.of(
        TrainingResult(),
        series,
        started_at=datetime.now(UTC),
        mode=TrainingMode.FINE_TUNE,
        seed=None,
        data_reference=None,
    )


def test_the_commit_and_the_versions_are_those_of_the_code_that_ran():
    record = record_of(waves(1))
    assert record.library_versions["torch"] == version("torch")
    assert record.library_versions["numpy"] == np.__version__
    assert record.library_versions["forecast"] == forecast.__version__
    root = Path(forecast.__file__).parents[1]
    if not (root / ".git").exists():
        assert (record.git_commit, record.git_dirty) == (None, None)
        return
    assert record.git_commit == git(root, "rev-parse", "HEAD")
    changed = git(root, "status", "--porcelain", "--untracked-files=no")
    assert record.git_dirty is bool(changed)


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_record_is_written_as_json_and_read_back_equal():
    record = record_of([ONE])
    assert TrainingRecord.model_validate_json(record.model_dump_json()) == record
    assert json.loads(record.model_dump_json())["cutoff"] == "2026-01-03T23:59:59Z"


def test_equal_data_has_an_equal_hash_whatever_arrays_it_is_in():
    wider = np.array([[9.0, 1.0, 2.0, np.nan]])[:, 1:]
    same = replace(ONE, target=np.asfortranarray(wider))
    assert data_sha256([same]) == data_sha256([ONE])


@pytest.mark.parametrize(
    "change",
    [
        {"target": np.array([[1.0, 2.0, 3.0]])},
        {"target": np.array([[np.nextafter(1.0, 2), 2.0, np.nan]])},
        {"target": np.array([[1.0, np.nan, 2.0]])},
        {"item_id": "b"},
        {"start": np.datetime64("2026-01-02", "s")},
        {"freq": Frequency.parse("h")},
        {"channels": ("x",)},
        {"past_covariates": {"price": np.array([1.0, 2.0, 4.0])}},
        {"past_covariates": {"cost": np.array([1.0, 2.0, 3.0])}},
        {"static_covariates": {"store": "south"}},
    ],
)
def test_other_data_has_another_hash(change):
    assert data_sha256([replace(ONE, **change)]) != data_sha256([ONE])


def test_so_has_data_in_another_order_or_cut_elsewhere():
    first, second = (replace(ONE, item_id=name, past_covariates={}) for name in "ab")
    assert data_sha256([first, second]) != data_sha256([second, first])
    longer, shorter = (
        [Series(np.ones((1, n))), Series(np.ones((1, 5 - n)))] for n in (2, 3)
    )  # as many values
    assert data_sha256(longer) != data_sha256(shorter)
