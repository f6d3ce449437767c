"""What a child does with an order: split, learn, compare, learn all of it again."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.jobs.series_files import write_series
from forecast.models import MODEL_REGISTRY
from forecast.training.plan import SERIES, FitOrder, FitPlan, Rival, Validation
from forecast.training.worker_main import Parent, fit
from tests.training.fit_helpers import PATCHTST, weekly

pytest.importorskip("torch", reason="needs the networks extra")

PASSES = {"max_steps": None, "max_epochs": 3, "batch_size": 64}
TASK = ForecastTask(horizon=4, quantile_levels=(0.1, 0.5, 0.9))


def carried_out(folder: Path, series: list[Series], **order: Any) -> tuple[dict, list[dict]]:
    """Do an order in this process: what it gives, and what it told."""
    folder.mkdir(parents=True, exist_ok=True)
    write_series(folder / SERIES, series)
    plan = {"config": PATCHTST | PASSES} | {
        name: order.pop(name) for name in ("config", "validation") if name in order
    }
    given = {"model_id": "patchtst", "weights": None, "target": folder / "target"}
    answers = io.StringIO()
    found = fit(FitOrder(plan=FitPlan(**plan), **given | order), Parent(folder, {}, answers))
    return found, [json.loads(line)["progress"] for line in answers.getvalue().splitlines()]


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "target" / "training_metadata.json").read_bytes())


def test_a_refit_learns_all_data_for_the_steps_that_validation_chose(tmp_path):
    series = [weekly(3), weekly(3, name="b", seed=1)]
    once, _ = carried_out(tmp_path / "once", series)
    found, told = carried_out(
        tmp_path / "refit", series, refit=True, checkpoints=tmp_path / "checkpoints"
    )
    first, record = record_of(tmp_path / "once"), record_of(tmp_path / "refit")
    assert found["metrics"] == once["metrics"] == record["metrics"]
    assert (first["refit"], record["refit"]) == (False, True)
    steps = record["length"]["steps"]
    assert 0 < steps <= record["length"]["planned"] == first["length"]["planned"]
    best = min(first["history"], key=lambda entry: entry.get("validation_loss", np.inf))
    assert steps == first["length"]["steps"] == best["step"]
    assert [one["step"] for one in told if one["phase"] == "refitting"][-1] == steps
    assert record["cutoff"][:10] == str(series[0].past_timestamps[-1])[:10]
    assert first["num_points"] == record["num_points"] == sum(one.length for one in series)
    weights = [
        tmp_path / name / "target" / "weights" / "model.safetensors" for name in ("once", "refit")
    ]
    assert weights[0].read_bytes() != weights[1].read_bytes()
    errors = [path.with_name("calibration.json").read_bytes() for path in weights]
    assert errors[0] == errors[1]  # measured where the validated fit had not learned

    again, told = carried_out(
        tmp_path / "again", series, refit=True, checkpoints=tmp_path / "checkpoints"
    )
    assert told == []  # resumed: both fits were over when their worker was killed
    assert again == found
    resumed = tmp_path / "again" / "target" / "weights" / "model.safetensors"
    assert resumed.read_bytes() == weights[1].read_bytes()


def test_where_nothing_is_held_back_nothing_is_learned_twice(tmp_path):
    _, told = carried_out(tmp_path, [weekly(2)], refit=True, validation=Validation(horizons=0))
    assert {one["phase"] for one in told} == {"training"}
    assert record_of(tmp_path)["refit"] is False


def test_a_family_that_chooses_nothing_by_validation_learns_everything_at_once(tmp_path):
    pytest.importorskip("statsforecast")
    carried_out(tmp_path, [weekly(2)], model_id="statistical", config={}, refit=True)
    assert record_of(tmp_path)["num_points"] == weekly(2).length


def test_a_short_series_is_learned_whole_and_named(tmp_path):
    short = Series(
        np.arange(7.0)[None], item_id="short", start=weekly(1).start, freq=weekly(1).freq
    )
    found, told = carried_out(tmp_path, [weekly(2), short], validation=Validation(horizons=2))
    assert found["unvalidated"] == ("short",)
    assert any(one["validation_loss"] for one in told)
    assert record_of(tmp_path)["item_ids"] == ["a", "short"]
    with pytest.raises(InvalidRequest, match="holds back 8 steps, and the longest series has 7"):
        carried_out(tmp_path / "alone", [short], validation=Validation(horizons=2))


def test_versions_are_compared_on_newer_steps_that_chose_nothing(tmp_path):
    series = weekly(3)
    old = 130
    cut = Series(series.target[:, :old], item_id="a", start=series.start, freq=series.freq)
    carried_out(tmp_path / "old", [cut])
    seen = cut.past_timestamps[-1].item()
    rival = Rival(name="v1", weights=tmp_path / "old" / "target", seen=seen)
    order = {"rival": rival, "refit": True}
    found, told = carried_out(tmp_path / "new", [series], **order)
    compared = found["comparison"]
    newer = series.length - old
    assert compared["version"] == "v1"
    assert (compared["horizon"], compared["origins"]) == (4, min(newer, series.length // 10) // 4)
    assert {"mase", "wql"} <= compared["candidate"].keys() & compared["current"].keys()
    assert compared["current"] == measured(tmp_path / "old", series, compared["origins"])
    assert "evaluating" in [one["phase"] for one in told]
    assert record_of(tmp_path / "new")["num_points"] == series.length

    changed = Series(series.target.copy(), item_id="a", start=series.start, freq=series.freq)
    changed.target[:, -4 * compared["origins"] :] += 100
    other, _ = carried_out(tmp_path / "changed", [changed], **order)
    assert other["metrics"] == found["metrics"]  # what is compared on chose nothing
    assert other["comparison"] != found["comparison"]

    broken = rival.model_copy(update={"weights": tmp_path / "nowhere"})
    failed, _ = carried_out(tmp_path / "failed", [series], rival=broken)
    assert failed["comparison"]["failed"]
    assert record_of(tmp_path / "failed")["metrics"] == found["metrics"]


@pytest.mark.parametrize(
    ("freq", "horizon", "expected"), [("MS", None, 12), ("YS", None, 8), ("MS", 3, 3)]
)
def test_a_family_without_windows_is_compared_over_a_season(tmp_path, freq, horizon, expected):
    months = np.arange(132)
    target = 50 + 10 * np.sin(2 * np.pi * months / 12) + np.random.default_rng(0).normal(size=132)
    start = np.datetime64("1850-01-01", "s")
    whole = Series(target[None], item_id="a", start=start, freq=Frequency.parse(freq))

    def fitted(folder: Path, series: Series, method: str, **order: Any) -> dict[str, Any]:
        config = {"options": {"model": method}, "horizon": horizon}
        order = {"model_id": "statistical", "config": config, **order}
        return carried_out(folder, [series], **order)[0]

    fitted(tmp_path / "old", whole.until(96), "naive")
    seen = whole.past_timestamps[95].item()
    rival = Rival(name="v1", weights=tmp_path / "old" / "target", seen=seen)
    compared = fitted(tmp_path / "new", whole, "auto_theta", rival=rival)["comparison"]
    assert compared["horizon"] == expected
    assert compared["origins"] == 13 // expected
    assert compared["candidate"]["mase"] != compared["current"]["mase"]


def measured(folder: Path, series: Series, origins: int) -> dict[str, float]:
    """Measure saved weights anew, on the last horizons of a series."""
    model = MODEL_REGISTRY["patchtst"].model_class().load_model(folder / "target", device="cpu")
    levels = tuple(level / 10 for level in range(1, 10))
    ends = [series.length - 4 * number for number in range(origins)]
    cut = [
        Series(
            series.target[:, :end], item_id="a", start=series.start, freq=Frequency.parse("W-FRI")
        )
        for end in ends
    ]
    return model.evaluate(cut, ForecastTask(4, levels))
