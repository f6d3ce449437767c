"""A training job: the current model and every missing year, whatever ends it in between."""

from datetime import date

import pytest

from forecast.core.errors import InvalidRequest, SourceUnavailable
from forecast.core.types import Series
from forecast.jobs.plans import write_plan
from forecast.training.plan import Snapshots, TrainingPlan, Validation
from forecast.training.train import run_training, years_of
from tests.training.fit_helpers import LSTM, Killed, job_at, job_plan, store_at, trainer_at, weekly

METRICS = ("mase", "wql")
LONG = 800  # steps that take seconds: a job is cancelled long before the last
SERIES = [weekly(5, start="2016-01-01")]  # to the end of 2020


def plan(**changes) -> TrainingPlan:
    fields = {"config": LSTM, "snapshots": Snapshots(bootstrap_years=3)}
    return TrainingPlan(**fields | changes)


@pytest.fixture
def place(tmp_path):
    """Runs a plan as a job; the same job again where it is named again."""

    class Place:
        store = store_at(tmp_path)
        trainer = trainer_at(tmp_path, store)
        jobs = {}

        def submitted(self, plan, name="job-1", series=SERIES):
            if name not in self.jobs:
                folder = tmp_path / "jobs" / name
                folder.parent.mkdir(exist_ok=True)
                write_plan(folder, job_plan(plan), series)
                self.jobs[name] = job_at(tmp_path, name)
            return self.jobs[name]

        def run(self, plan, name="job-1", *, series=SERIES, sync=None, killed_after=None):
            job = self.submitted(plan, name, series)
            job.steps.killed_after = killed_after
            return run_training(job_plan(plan), job.context, self.trainer, sync)

        @property
        def shelf(self):
            return self.store.model("lstm")

    return Place()


# Which years


def of(years, start):
    return [weekly(years, start=start)]


@pytest.mark.parametrize(
    ("series", "snapshots", "cutoff", "expected"),
    [
        (of(4.02, "2016-01-01"), Snapshots(), None, [2019]),  # the mission's example
        (of(3.99, "2016-01-01"), Snapshots(), None, [2019]),  # whole: the next Friday is in 2020
        (of(3.9, "2016-01-01"), Snapshots(), None, []),
        (of(8, "2016-01-01"), Snapshots(), None, [2019, 2020, 2021, 2022, 2023]),
        (of(8, "2016-01-01"), Snapshots(skip=[2020, 2022]), None, [2019, 2021, 2023]),
        (of(8, "2016-01-01"), Snapshots(first=2017, last=2018), None, [2017, 2018]),
        (of(8, "2016-01-01"), Snapshots(first=1990, last=2090), None, list(range(2016, 2024))),
        (of(8, "2016-01-01"), Snapshots(), date(2021, 6, 30), [2019, 2020]),
        (of(8, "2016-01-01"), Snapshots(), date(2021, 12, 31), [2019, 2020, 2021]),
        (of(8, "2016-07-01"), Snapshots(bootstrap_years=1, last=2017), None, [2016, 2017]),
        (of(8, "2016-01-01"), Snapshots(yearly=False), None, []),
        (of(8, "2016-01-01"), None, None, []),
        (of(2, "2019-01-04") + of(4, "2016-01-01"), Snapshots(), None, [2019, 2020]),
    ],
)
def test_the_years_follow_from_the_data(series, snapshots, cutoff, expected):
    assert years_of(series, snapshots, cutoff) == expected


def test_series_without_times_have_no_years():
    with pytest.raises(InvalidRequest, match="send start and freq"):
        years_of([Series(SERIES[0].target)], Snapshots())


# The whole


def test_the_current_model_first_then_each_year_and_nothing_twice(place):
    outcome = place.run(plan())
    assert outcome.state == "succeeded", outcome.error
    assert [window.window for window in outcome.windows] == [
        "current", "2018-12-31", "2019-12-31", "2020-12-31",
    ]  # fmt: skip
    assert {window.state for window in outcome.windows} == {"trained"}
    assert place.shelf.aliases.get("current") == outcome.version == outcome.windows[0].version
    assert outcome.message.startswith("trained: current, 2018-12-31")

    again = place.run(plan(), "job-2")
    assert {window.state for window in again.windows} == {"skipped"}
    assert [one.version for one in again.windows] == [one.version for one in outcome.windows]
    assert again.message == (
        "nothing to do: there already: current, 2018-12-31, 2019-12-31, 2020-12-31"
    )
    assert {progress.phase for progress in place.jobs["job-2"].told} <= {"starting"}
    assert len(place.shelf.versions()) == 1


def test_a_worker_that_is_killed_in_the_second_year_leaves_the_rest_to_the_next(place):
    with pytest.raises(Killed):
        place.run(plan(), killed_after="fit 2019-12-31")
    job = place.jobs["job-1"]
    assert job.steps.done == ["fit current", "fit 2018-12-31", "fit 2019-12-31"]
    job.told.clear()
    outcome = place.run(plan())
    assert outcome.state == "succeeded"
    assert [window.state for window in outcome.windows] == ["trained"] * 4
    trained = {progress.window for progress in job.told if progress.phase == "training"}
    assert trained == {"2020-12-31"}  # 2019 was published before the worker was killed


def test_a_job_that_is_cancelled_says_what_is_there_and_a_retry_goes_on(place):
    long = plan(snapshots=None, config=LSTM | {"max_steps": LONG, "early_stopping": None})
    job = place.submitted(long)
    job.when_told = lambda progress: progress.step and job.stop.set()
    outcome = place.run(long)
    assert (outcome.state, outcome.windows) == ("cancelled", ())
    reached = max(progress.step for progress in job.told if progress.step)
    assert reached < LONG

    retried = place.run(long, "job-2")
    assert retried.state == "succeeded"
    told = place.jobs["job-2"].told
    steps = [progress.step for progress in told if progress.phase == "training"]
    assert reached <= steps[0] <= steps[-1] == LONG
    version = place.shelf.get(retried.version).metadata
    assert version.refit
    assert version.steps == max(one.step for one in told if one.phase == "refitting")


def test_a_year_that_fails_fails_the_job_with_words_and_what_was_done_stays(place):
    series = [weekly(5), weekly(1.2, start="2019-11-01", name="late")]
    held = plan(validation=Validation(horizons=60), snapshots=Snapshots(first=2017, last=2020))
    outcome = place.run(held, series=series)
    assert outcome.state == "failed"
    assert outcome.error.code == "invalid_request"
    assert [window.window for window in outcome.windows] == ["current"]


def test_weights_to_start_from_that_are_not_there_fail_the_job(place):
    outcome = place.run(plan(source="store:v1.0", snapshots=None))
    assert (outcome.state, outcome.error.code) == ("failed", "version_not_found")


def test_what_the_remote_lacks_is_a_warning(place):
    asked = []

    def sync(model_id, names):
        asked.append((model_id, names))
        raise SourceUnavailable("the hub does not answer")

    outcome = place.run(plan(snapshots=None), sync=sync)
    assert outcome.state == "succeeded"
    assert asked == [("lstm", [outcome.version])]
    assert outcome.warnings == ("not synced: the hub does not answer",)


# What becomes current


def test_never_leaves_current_as_it_is(place):
    outcome = place.run(plan(promote="never", snapshots=None))
    assert place.shelf.aliases.get("current") is None
    assert outcome.version is not None


def test_if_better_compares_on_what_is_new_to_both(place):
    first = place.run(plan(snapshots=None, cutoff=date(2018, 12, 31)))
    better = plan(snapshots=None, promote="if_better", config=LSTM | {"max_steps": 200})
    second = place.run(better, "job-2")
    ratios = [
        second.metrics[f"candidate_{one}"] / second.metrics[f"current_{one}"] for one in METRICS
    ]
    is_better = sum(ratios) / 2 <= 0.99
    expected = second.version if is_better else first.version
    assert place.shelf.aliases.get("current") == expected
    assert first.version in second.message
    made = place.shelf.get(second.version).metadata
    assert made.comparison.version == first.version
    assert made.cutoff.year == 2020  # what was compared on is learned now too
    again = place.run(better, "job-3")
    assert [window.state for window in again.windows] == ["skipped"]
    assert place.shelf.aliases.get("current") == expected


def test_if_better_does_not_compare_on_what_the_current_one_has_seen(place):
    first = place.run(plan(snapshots=None))
    other = plan(snapshots=None, promote="if_better", config=LSTM | {"seed": 3})
    second = place.run(other, "job-2")
    assert second.state == "succeeded"
    assert second.version != first.version
    assert place.shelf.aliases.get("current") == first.version
    assert "could not be compared" in second.message
