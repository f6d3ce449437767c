"""Jobs over HTTP: listed, followed, ended, tried again. The test plays the worker where one is."""

import asyncio
import os
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx2
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.api.schemas import JobEventDocument
from forecast.core.types import Series
from forecast.jobs import worker_rows
from forecast.jobs.context import LOG
from forecast.jobs.database import clock, engine_of
from forecast.jobs.event_rows import append
from forecast.jobs.folders import RESULT
from forecast.jobs.jobs import Jobs
from forecast.jobs.plans import JobPlan
from forecast.jobs.records import Job, JobKind, JobOutcome, JobProgress
from forecast.training.results import TABLE
from tests.api.serving import OPTIONS, caller, replying, running, status_answer
from tests.api.training_parts import training_in

JOBS = "/forecast/v1/jobs"
ANY = "tr_" + "0" * 24
WORKER = worker_rows.WorkerRow("w/0/1", "0", "here", 1)
SERIES = Series(target=np.arange(20.0).reshape(1, -1), item_id="a")


@dataclass
class Bench:
    """A served gateway, its jobs, and a worker's hands."""

    client: httpx2.Client
    jobs: Jobs
    folder: os.PathLike[str]
    engine: object

    def submit(self, model_id: str = "toy", kind: JobKind = JobKind.TRAINING, **work: str) -> Job:
        plan = JobPlan(kind=kind, model_id=model_id, work=work)
        return asyncio.run(self.jobs.submit(plan, [SERIES]))

    def work(self, job_id: str, *steps) -> None:
        """Do what a worker does to the job, each step a transaction."""
        for step in steps:
            with self.engine.begin() as connection:
                assert step(connection, job_id) is not False

    def events(self, job_id: str, **headers: str) -> list[tuple[str, int, dict]]:
        """Read the stream to its end."""
        answer = self.client.get(f"{JOBS}/{job_id}/events", headers=headers)
        assert answer.status_code == 200, answer.text
        return [parsed(frame) for frame in answer.text.split("\n\n") if "data: " in frame]


def parsed(frame: str) -> tuple[str, int, dict]:
    """Take an event apart; it is as the OpenAPI document says."""
    fields = dict(line.split(": ", 1) for line in frame.splitlines())
    event = {**fields, "id": int(fields["id"]), "data": orjson.loads(fields["data"])}
    told = JobEventDocument.model_validate(event).model_dump(mode="json")
    assert set(event["data"]) == set(told["data"])
    return event["event"], event["id"], event["data"]


def begin(connection, job_id: str) -> bool:
    return worker_rows.claim(connection, job_id, WORKER.id) is not None


def progress(step: int):
    report = JobProgress(phase="training", window="current", step=step, of=10)
    return lambda connection, job_id: worker_rows.tell_progress(
        connection, job_id, WORKER.id, report
    )


def say(line: str):
    return lambda connection, job_id: append(connection, job_id, "log", {"line": line})


def end(state: str = "succeeded", **outcome):
    return lambda connection, job_id: worker_rows.finish(
        connection, job_id, WORKER.id, JobOutcome(state=state, **outcome)
    )


@contextmanager
def bench(home, **options):
    training = training_in(home, poll_s=0.02, **options)

    @asynccontextmanager
    async def lifespan(app):
        await training.jobs.start()
        yield
        await training.jobs.close()

    hosts = {"toy": replying("toy", status_answer("ready"))}
    app = create_app(hosts, ApiOptions(**OPTIONS), lifespan, training)
    engine = engine_of(f"sqlite:///{home / 'jobs.db'}")
    with running(app) as url, caller(url) as client:
        client.get(JOBS).raise_for_status()
        with engine.begin() as connection:
            worker_rows.arrive(connection, WORKER, clock(engine))
        yield Bench(client, training.jobs, home / "jobs", engine)
    engine.dispose()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """For who changes nothing, or looks only at jobs of its own."""
    with bench(tmp_path_factory.mktemp("shared")) as served:
        yield served


@pytest.fixture
def served(tmp_path):
    with bench(tmp_path) as served:
        yield served


def test_jobs_are_listed_newest_first_by_filters_and_page_by_page(served):
    assert served.client.get(JOBS).json() == {"jobs": [], "count": 0, "next": None}
    made = [served.submit(name).id for name in ("toy", "lstm", "toy")]
    made.append(served.submit(kind=JobKind.BACKTEST).id)
    served.work(made[0], begin)

    def listed(**asked: object) -> list[str]:
        answer = served.client.get(JOBS, params=asked).json()
        assert answer["count"] == len(answer["jobs"])
        return [job["id"] for job in answer["jobs"]]

    assert listed() == made[::-1]
    assert listed(model_id="lstm") == [made[1]]
    assert listed(kind="backtest") == [made[3]]
    assert listed(state="running") == [made[0]]
    assert listed(model_id="toy", state="pending") == [made[3], made[2]]
    assert listed(before=made[2]) == [made[1], made[0]]

    found, page = [], f"{JOBS}?model_id=toy&limit=1"
    while page is not None:
        answer = served.client.get(page).json()
        found += [job["id"] for job in answer["jobs"]]
        page = answer["next"]
    assert found == [made[3], made[2], made[0]]


@pytest.mark.parametrize(
    "asked",
    [{"limit": 0}, {"limit": 501}, {"state": "asleep"}, {"kind": "x"}, {"model_id": "a b"},
     {"before": "\0"}],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused(shared, asked):
    refused = shared.client.get(JOBS, params=asked)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("path", ["", "/events", "/log", "/result", "/cancel", "/retry"])
@pytest.mark.parametrize("job_id", ["tr_none", "%00", "ä", ANY])
def test_a_job_that_is_not_there_is_not_found(shared, job_id, path):
    method = "POST" if path in ("/cancel", "/retry") else "GET"
    answer = shared.client.request(method, f"{JOBS}/{job_id}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_job_is_followed_while_it_runs_and_taken_up_where_one_was_cut_off(shared):
    job_id = shared.submit().id
    with shared.client.stream("GET", f"{JOBS}/{job_id}/events") as stream:
        frames = frames_of(stream)
        kind, number, job = next(frames)
        assert (kind, number, job["id"], job["state"]) == ("state", 1, job_id, "pending")
        shared.work(job_id, begin)
        kind, number, job = next(frames)
        assert (kind, number, job["state"]) == ("state", 2, "running")
        shared.work(job_id, progress(1))
        kind, last, report = next(frames)
        assert (kind, report["step"], report["of"]) == ("progress", 1, 10)
        assert report["at"]
    shared.work(job_id, say("epoch 1"), progress(2), end(metrics={"loss": 0.5}))

    rest = shared.events(job_id, **{"Last-Event-ID": str(last)})
    assert [(kind, number) for kind, number, _ in rest] == [
        ("log", 4),
        ("progress", 5),
        ("done", 6),
    ]
    assert rest[0][2]["line"] == "epoch 1"
    assert (rest[2][2]["state"], rest[2][2]["metrics"]) == ("succeeded", {"loss": 0.5})
    assert [number for _, number, _ in shared.events(job_id)] == list(range(1, 7))

    last = {"Last-Event-ID": "6"}
    assert shared.client.get(f"{JOBS}/{job_id}/events", headers=last).status_code == 204
    beyond = {"Last-Event-ID": "1000"}
    assert shared.client.get(f"{JOBS}/{job_id}/events", headers=beyond).status_code == 204


def frames_of(stream):
    lines = []
    for line in stream.iter_lines():
        if line:
            lines.append(line)
        else:
            yield parsed("\n".join(lines))
            lines = []


@pytest.mark.parametrize("last", ["-1", "one", "1.5", str(2**70)])
def test_a_last_event_that_is_no_id_is_refused(shared, last):
    job_id = shared.submit().id
    refused = shared.client.get(f"{JOBS}/{job_id}/events", headers={"Last-Event-ID": last})
    assert refused.status_code == 422


def test_the_end_of_the_log_is_shown_as_text(shared):
    job_id = shared.submit().id
    assert shared.client.get(f"{JOBS}/{job_id}/log").text == ""
    (shared.folder / job_id / LOG).write_text("first line\nsecond ünicode\nthird\n")
    log = shared.client.get(f"{JOBS}/{job_id}/log")
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    assert log.text == "first line\nsecond ünicode\nthird\n"
    assert shared.client.get(f"{JOBS}/{job_id}/log", params={"last": 8}).text == "third\n"
    assert shared.client.get(f"{JOBS}/{job_id}/log", params={"last": 0}).status_code == 422


def test_a_result_is_there_once_the_job_has_succeeded(shared):
    job_id = shared.submit().id
    url = f"{JOBS}/{job_id}/result"
    refused = shared.client.get(url)
    assert refused.status_code == 404
    assert "pending" in refused.json()["detail"]
    result = {"job_id": job_id, "windows": []}
    (shared.folder / job_id / RESULT).write_bytes(orjson.dumps(result))
    shared.work(job_id, begin, end())
    assert shared.client.get(url).json() == result
    parquet = {"Accept": "application/vnd.apache.parquet"}
    refused = shared.client.get(url, headers=parquet)
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


def test_the_forecasts_of_a_backtest_come_as_parquet_to_who_accepts_that(shared):
    job_id = shared.submit(kind=JobKind.BACKTEST).id
    table = pa.table({"item_id": ["a", "a"], "mean": [1.0, 2.0]})
    pq.write_table(table, shared.folder / job_id / TABLE)
    (shared.folder / job_id / RESULT).write_text("{}")
    shared.work(job_id, begin, end())
    accept = {"Accept": "application/vnd.apache.parquet, application/json;q=0.5"}
    answer = shared.client.get(f"{JOBS}/{job_id}/result", headers=accept)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(pa.BufferReader(answer.content)).equals(table)
    assert shared.client.get(f"{JOBS}/{job_id}/result").json() == {}


def test_a_job_that_waits_is_cancelled_at_once_and_one_that_runs_is_told_to_end(shared):
    waiting, working = shared.submit().id, shared.submit().id
    shared.work(working, begin)
    for _ in range(2):
        answer = shared.client.post(f"{JOBS}/{waiting}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        answer = shared.client.post(f"{JOBS}/{working}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelling")
    shared.work(working, end("cancelled"))
    assert [kind for kind, _, _ in shared.events(working)] == ["state", "state", "state", "done"]
    done = shared.submit().id
    shared.work(done, begin, end())
    refused = shared.client.post(f"{JOBS}/{done}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def test_a_job_that_failed_is_tried_again_as_a_new_one(shared):
    job_id = shared.submit(data_reference="of the test").id
    refused = shared.client.post(f"{JOBS}/{job_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    shared.work(job_id, begin, end("failed", error={"code": "x", "detail": "y"}))
    assert shared.client.get(f"{JOBS}/{job_id}").json()["error"] == {"code": "x", "detail": "y"}

    key = {"Idempotency-Key": "again-1"}
    answers = [shared.client.post(f"{JOBS}/{job_id}/retry", headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    first, second = (answer.json() for answer in answers)
    assert first["id"] == second["id"] != job_id
    assert (first["retry_of"], first["state"]) == (job_id, "pending")
    assert shared.client.get(answers[0].headers["location"]).json()["id"] == first["id"]
    without_key = shared.client.post(f"{JOBS}/{job_id}/retry").json()
    assert without_key["id"] not in (job_id, first["id"])


def test_a_full_queue_says_when_to_come_back(tmp_path):
    with bench(tmp_path, training_queue=0, training_jobs=1) as served:
        failed = served.submit().id
        served.work(failed, begin, end("failed"))
        assert served.client.post(f"{JOBS}/{failed}/retry").status_code == 202
        refused = served.client.post(f"{JOBS}/{failed}/retry")
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) > 0


def test_while_the_database_is_away_every_call_says_so(tmp_path):
    training = training_in(tmp_path, database_url="postgresql://nobody@127.0.0.1:1/none")
    hosts = {"toy": replying("toy", status_answer("ready"))}
    app = create_app(hosts, ApiOptions(**OPTIONS), training=training)
    with running(app) as url, caller(url) as client:
        for path in ("", "/{id}", "/{id}/events", "/{id}/log", "/{id}/result"):
            answer = client.get(f"{JOBS}{path.format(id=ANY)}")
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert "127.0.0.1" not in answer.text


def test_jobs_need_a_key(shared):
    url = str(shared.client.base_url).rstrip("/")
    assert httpx2.get(f"{url}{JOBS}", timeout=60).status_code == 401
    assert httpx2.get(f"{url}{JOBS}/x/events", timeout=60).status_code == 401
