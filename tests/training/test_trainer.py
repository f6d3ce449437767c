"""One fit, in a real child process, published in a real store."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from forecast.core.errors import BadData, LooksAhead
from forecast.core.times import day_end
from forecast.models import MODEL_REGISTRY
from forecast.store.hub_settings import HubSettings
from forecast.store.remotes import RemoteOptions, remotes_of
from forecast.store.sync import StoreSync
from forecast.training.fit import Fit
from forecast.training.plan import Validation
from tests.fakes.hub import FakeHub
from tests.training.fit_helpers import LSTM, fit_of, job_at, store_at, trainer_at, weekly

pytest.importorskip("torch", reason="needs the networks extra")

DAY = date(2018, 12, 31)


def request(**changes) -> Fit:
    fields = {"config": LSTM, "series": [weekly(5), weekly(5, name="b", seed=1)]}
    return fit_of("lstm", **fields | changes)


def snapshot(**changes) -> Fit:
    return request(name=DAY.isoformat(), cutoff=day_end(DAY), snapshot=DAY, **changes)


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path)


@pytest.fixture
def trainer(tmp_path, store):
    return trainer_at(tmp_path, store)


def test_a_version_holds_all_that_is_known_of_it(tmp_path, store, trainer):
    job = job_at(tmp_path)
    window = trainer.fit(request(data_reference="made up"), job.context)
    version = store.model("lstm").get(window.version)
    metadata = version.metadata
    assert (window.state, window.window, metadata.kind) == ("trained", "current", "version")
    assert metadata.job_id == job.context.job_id
    assert metadata.item_ids == ("a", "b")
    assert metadata.data_reference == "made up"
    assert metadata.metrics == window.metrics
    assert set(window.metrics) == {"validation_loss"}
    newest = weekly(5).known_from[-1].item().replace(tzinfo=UTC)
    assert window.cutoff == metadata.cutoff == newest
    assert {file.name for file in version.path.iterdir()} == {
        "config.json", "training_metadata.json", "weights", "manifest.json",
    }  # fmt: skip
    assert (version.path / "weights" / "features.json").exists()  # the scaler


def test_it_tells_how_far_it_is_and_leaves_nothing_behind(tmp_path, store, trainer):
    job = job_at(tmp_path)
    trainer.fit(request(config=LSTM | {"max_steps": 120}, number=2, fits=3), job.context)
    phases = list(dict.fromkeys(progress.phase for progress in job.told))
    assert phases == ["starting", "training", "publishing"]
    training = [progress for progress in job.told if progress.phase == "training"]
    assert all(
        (one.window, one.window_number, one.windows) == ("current", 2, 3) for one in training
    )
    assert all(one.memory_bytes and one.memory_bytes > 10 << 20 for one in training)
    assert training[-1].step == training[-1].of == 120
    assert training[-1].eta_s is not None
    assert list(job.context.work.iterdir()) == []
    assert list((store.config.root / "lstm" / "checkpoints").iterdir()) == []


def test_asked_again_it_is_skipped(tmp_path, trainer):
    first = trainer.fit(request(), job_at(tmp_path).context)
    elsewhere = request(config=LSTM | {"device": "auto"})
    again = trainer.fit(elsewhere, job_at(tmp_path, "job-2").context)
    assert (again.state, again.version, again.detail) == ("skipped", first.version, None)


def test_the_same_job_that_was_killed_before_it_could_say_so_has_trained_it(tmp_path, trainer):
    job = job_at(tmp_path)
    first = trainer.fit(request(), job.context)
    job.told.clear()
    again = trainer.fit(request(), job.context)
    assert (again.state, again.version) == ("trained", first.version)
    assert job.told == []


@pytest.mark.parametrize(
    "change",
    [
        {"config": LSTM | {"seed": 1}},
        {"series": [weekly(4)]},
        {"validation": Validation(share=0.2)},
        {"cutoff": day_end(DAY)},
    ],
)
def test_another_fit_is_another_version(tmp_path, store, trainer, change):
    first = trainer.fit(request(), job_at(tmp_path).context)
    other = trainer.fit(request(**change), job_at(tmp_path, "job-2").context)
    assert other.state == "trained"
    assert {version.name for version in store.model("lstm").versions()} == {
        first.version, other.version,
    }  # fmt: skip


def test_a_snapshot_is_there_once_whatever_it_was_trained_of(tmp_path, store, trainer):
    first = trainer.fit(snapshot(), job_at(tmp_path).context)
    cutoff = datetime(2018, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert (first.version, first.cutoff) == ("snapshot_2018-12-31", cutoff)
    again = trainer.fit(snapshot(config=LSTM | {"seed": 1}), job_at(tmp_path, "job-2").context)
    assert again.state == "skipped"
    assert "of another configuration" in again.detail
    anew = snapshot(config=LSTM | {"seed": 1}, overwrite=True)
    third = trainer.fit(anew, job_at(tmp_path, "job-3").context)
    assert third.state == "trained"
    sha256 = store.model("lstm").get(first.version).sha256
    assert trainer.fit(anew, job_at(tmp_path, "job-3").context).state == "trained"  # not once more
    assert store.model("lstm").get(first.version).sha256 == sha256


def test_weights_that_have_seen_the_future_start_no_snapshot(tmp_path, trainer):
    newer = trainer.fit(request(), job_at(tmp_path).context)
    tuned = {"training_mode": "fine_tune"} | LSTM
    with pytest.raises(LooksAhead, match=r"2020-12-\d\d, after 2018-12-31, the cutoff"):
        trainer.fit(
            snapshot(config=tuned, source=f"store:{newer.version}"), job_at(tmp_path, "2").context
        )


def test_what_is_tuned_has_seen_what_its_first_weights_saw(tmp_path, trainer):
    newer = trainer.fit(request(), job_at(tmp_path).context)
    tuned = request(
        config={"training_mode": "fine_tune"} | LSTM,
        series=[weekly(3), weekly(3, name="b", seed=1)],
        source=f"store:{newer.version}",
    )
    window = trainer.fit(tuned, job_at(tmp_path, "job-2").context)
    assert window.cutoff == newer.cutoff


def test_a_cutoff_after_all_data_leaves_what_the_first_weights_saw(tmp_path, store, trainer):
    """Data to 2018, weights that saw 2020, a cutoff in 2021: it has seen 2020."""
    newer = trainer.fit(request(), job_at(tmp_path).context)
    tuned = request(
        config={"training_mode": "fine_tune"} | LSTM,
        series=[weekly(3), weekly(3, name="b", seed=1)],
        source=f"store:{newer.version}",
        cutoff=day_end(date(2021, 12, 31)),
    )
    window = trainer.fit(tuned, job_at(tmp_path, "job-2").context)
    seen = store.model("lstm").get(window.version).metadata.provenance.seen_until
    assert window.cutoff == seen == newer.cutoff


def test_foreign_weights_are_remembered_through_all_generations(tmp_path, store, trainer):
    theirs = store.config.root / "lstm" / "local" / "theirs"
    MODEL_REGISTRY["lstm"].model_class().tiny().save_model(theirs)
    tuned = {"training_mode": "fine_tune", "max_steps": 2}
    source, versions = "local:theirs", []
    for generation in range(2):
        fit = request(config=tuned | {"seed": generation}, source=source)
        window = trainer.fit(fit, job_at(tmp_path, f"job-{generation}").context)
        versions.append(store.model("lstm").get(window.version))
        source = versions[-1].source
    roots = [[root.source for root in one.metadata.provenance.roots] for one in versions]
    assert roots == [["local:theirs"]] * 2
    with pytest.raises(LooksAhead, match="comes from local:theirs"):
        trainer.fit(snapshot(config=tuned, source="local:theirs"), job_at(tmp_path, "3").context)
    allowed = snapshot(config=tuned, source="local:theirs", strict=False)
    window = trainer.fit(allowed, job_at(tmp_path, "job-4").context)
    assert "comes from local:theirs, which may have seen" in window.detail


def test_a_series_that_begins_later_is_left_out_of_a_snapshot(tmp_path, trainer):
    unlisted = weekly(5, name="c")
    unlisted.target[:, :200] = np.nan
    later = weekly(1, start="2019-06-07", name="d")
    window = trainer.fit(snapshot(series=[weekly(5), unlisted, later]), job_at(tmp_path).context)
    assert window.detail == "left out, with nothing observed to learn from: c"


def test_nothing_to_learn_from_is_said(tmp_path, trainer):
    with pytest.raises(BadData, match="up to 2018-12-31"):
        trainer.fit(snapshot(series=[weekly(1, start="2019-06-07")]), job_at(tmp_path).context)


def test_an_unpublished_fit_lies_where_it_was_asked_and_nowhere_else(tmp_path, store, trainer):
    target = tmp_path / "target"
    target.mkdir()
    trained = trainer.train(snapshot(), job_at(tmp_path).context, target)
    assert json.loads((target / "config.json").read_bytes())["model_id"] == "lstm"
    assert trained.prepared.cutoff == datetime(2018, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert trained.metrics == trained.record.metrics
    assert store.model("lstm").versions() == store.model("lstm").snapshots() == []


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
def test_a_snapshot_that_lies_on_the_hub_is_brought_and_not_trained_again(tmp_path, store, trainer):
    trained = trainer.fit(snapshot(), job_at(tmp_path / "here").context)
    elsewhere = store_at(tmp_path / "there")
    with FakeHub() as hub:
        options = RemoteOptions(
            backend="hf",
            repos={"lstm": "team/lstm"},
            hub=HubSettings(hf_endpoint=hub.endpoint, hf_token=hub.token),
            staging=tmp_path / "incoming",
        )
        report = StoreSync(store, remotes_of(store, options, ["lstm"])).upload(
            "lstm", trained.version
        )
        assert report.failed == {}
        there = trainer_at(tmp_path / "there", elsewhere)
        there.remote = StoreSync(elsewhere, remotes_of(elsewhere, options, ["lstm"]))
        another = replace(job_at(tmp_path / "there").context, job_id="tr_another")
        found = there.fit(snapshot(), another)
    assert (found.state, found.version) == ("skipped", trained.version)
    one, other = (kept.model("lstm").get(trained.version).manifest for kept in (store, elsewhere))
    assert one == other
