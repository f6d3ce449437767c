"""Nothing after the cutoff has any part in a fit: whatever it is, the same bytes come of it."""

import io
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecast.core.times import day_end
from forecast.core.types import ForecastTask, Series
from forecast.jobs.series_files import write_series
from forecast.models import MODEL_REGISTRY
from forecast.training.fit import Fit, prepare
from forecast.training.plan import SERIES, FitOrder, Validation
from forecast.training.worker_main import Parent, fit
from tests.examples import examples
from tests.training.fit_helpers import LSTM, PATCHTST, fit_of, job_at, store_at, trainer_at, weekly

pytest.importorskip("torch", reason="needs the networks extra")

DAY = date(2018, 12, 31)
# Passes, so that early stopping and the choice of the best weights have something to decide.
CONFIGS = {
    model: config | {"max_steps": None, "max_epochs": 3, "early_stopping": 1, "batch_size": 64}
    for model, config in {"lstm": LSTM | {"hidden_dim": 4}, "patchtst": PATCHTST}.items()
}
TASK = ForecastTask(horizon=4, quantile_levels=(0.1, 0.5, 0.9))
SETTINGS = settings(
    max_examples=examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def panel(model: str) -> list[Series]:
    """Two series over four years; those of the LSTM have a covariate that is known ahead."""
    found = [weekly(4, name="a"), weekly(4, name="b", seed=1)]
    if model != "lstm":
        return found
    known = np.cos(np.arange(found[0].length + 4))
    past, future = known[:-4], known[-4:]
    return [
        replace(one, past_covariates={"promo": past}, future_covariates={"promo": future})
        for one in found
    ]


def request(model: str, series: list[Series]) -> Fit:
    return fit_of(
        model,
        series,
        DAY.isoformat(),
        config=CONFIGS[model],
        cutoff=day_end(DAY),
        snapshot=DAY,
        validation=Validation(share=0.2),
    )


def learned(model: str, series: list[Series], sources: Any = None) -> dict[str, Any]:
    """Do what a job does in its worker and then in its child, in this process."""
    asked = request(model, series)
    ready = prepare(asked, sources)
    with TemporaryDirectory() as name:
        folder = Path(name)
        order = FitOrder(model_id=model, plan=asked.plan, weights=None, target=folder / "target")
        write_series(folder / SERIES, ready.series)
        answers = io.StringIO()
        fit(order, Parent(folder, {}, answers))
        return outcome(model, folder / "target", series) | {
            "hashes": (ready.config_sha256, ready.data_sha256),
            "cutoff": ready.cutoff,
            "told": answers.getvalue(),
        }


def outcome(model: str, target: Path, series: list[Series]) -> dict[str, Any]:
    """Every byte of the weights, scaler and configuration, and what is forecast with them."""
    loaded = MODEL_REGISTRY[model].model_class().load_model(target)
    pasts = [past for one in series if (past := one.until(day_end(DAY))).length]
    pasts = [replace(past, future_covariates=ahead(past)) for past in pasts]
    forecasts = loaded.predict(pasts, TASK)
    return {
        "files": {
            path.relative_to(target).as_posix(): path.read_bytes()
            for path in sorted(target.rglob("*"))
            if path.is_file() and path.name != "training_metadata.json"  # has times of day
        },
        "metrics": loaded.best_metrics_,
        "history": loaded.training_history_,
        "seen": (loaded.training_.cutoff, loaded.training_.data_sha256),
        "mean": [one.mean.tolist() for one in forecasts],
        "quantiles": [one.quantiles.tolist() for one in forecasts],
    }


def ahead(past: Series) -> dict[str, Any]:
    """The same known future for everybody, to forecast with."""
    return {name: np.ones(TASK.horizon) for name in past.past_covariates}


@st.composite
def other_futures(draw: Any, model: str) -> list[Series]:
    """The same series up to the cutoff; after it anything, also nothing, and other series."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    series = [changed(one, rng, draw(kinds())) for one in panel(model)]
    further = [
        replace(one, item_id=f"later-{number}", start=np.datetime64("2019-02-01", "s"))
        for number, one in enumerate(panel(model)[: draw(st.integers(0, 2))])
    ]
    return draw(st.sampled_from([[*series, *further], [*further, *series]]))


def kinds() -> st.SearchStrategy[str]:
    return st.sampled_from(["noise", "huge", "missing", "infinite", "none", "longer", "covariates"])


def changed(series: Series, rng: np.random.Generator, kind: str) -> Series:
    past = series.until(day_end(DAY))
    if kind == "none":
        return replace(past, future_covariates={name: [] for name in past.past_covariates})
    steps = series.length - past.length + (30 if kind == "longer" else 0)
    after = {
        "huge": np.full(steps, 1e12), "missing": np.full(steps, np.nan),
        "infinite": np.full(steps, np.inf),
    }.get(kind, rng.normal(scale=1e3, size=steps))  # fmt: skip
    if kind == "covariates":
        after = series.target[0, past.length :]
    covariates = {
        name: np.concatenate([values, rng.normal(scale=1e3, size=steps)])
        for name, values in past.past_covariates.items()
    }
    return replace(
        series,
        target=np.concatenate([past.target[0], after])[None],
        past_covariates=covariates,
        future_covariates={name: rng.normal(size=4) for name in covariates},
    )


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, Any]]:
    return {model: learned(model, panel(model)) for model in CONFIGS}


@SETTINGS
@given(series=other_futures("lstm"))
def test_no_future_changes_what_the_lstm_learns(expected, series):
    assert learned("lstm", series) == expected["lstm"]


@SETTINGS
@given(series=other_futures("patchtst"))
def test_no_future_changes_what_patchtst_learns(expected, series):
    assert learned("patchtst", series) == expected["patchtst"]


@pytest.mark.parametrize("model", CONFIGS)
def test_the_last_step_before_the_cutoff_does(expected, model):
    series = panel(model)
    times = series[0].past_timestamps
    last = int(np.searchsorted(times, day_end(DAY), side="right")) - 1
    series[0].target[0, last] += 1
    found = learned(model, series)
    assert found["hashes"][1] != expected[model]["hashes"][1]
    assert found["metrics"] != expected[model]["metrics"]  # it is in the validation part
    assert found["mean"] != expected[model]["mean"]


@pytest.mark.parametrize("model", CONFIGS)
def test_so_it_is_in_a_child_process_and_a_store(tmp_path, expected, model):
    """The whole way: a worker that has all the data, its child, and what is published."""
    series = [changed(one, np.random.default_rng(5), "huge") for one in panel(model)]
    found = []
    for name, whole in (("one", panel(model)), ("other", series)):
        folder = tmp_path / name
        store = store_at(folder)
        trainer_at(folder, store).fit(request(model, whole), job_at(folder).context)
        version = store.model(model).get("snapshot_2018-12-31")
        assert version.cutoff == expected[model]["cutoff"]
        files = outcome(model, version.path, whole)
        del files["files"]["manifest.json"]  # has times of day
        found.append(files)
    assert found[0] == found[1]
    assert found[0]["seen"][0].date() <= DAY
    same = ("mean", "quantiles", "metrics")
    for name in same:
        np.testing.assert_allclose(flat(found[0][name]), flat(expected[model][name]), rtol=1e-3)


def flat(values: Any) -> list[float]:
    if isinstance(values, dict):
        return list(values.values())
    return list(np.ravel(values))
