"""Versions, snapshots and aliases over HTTP, from a real store."""

import queue
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from forecast.api.alias_routes import Versions
from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.core.state import ModelMetadata
from forecast.store.config import StoreConfig
from forecast.store.versions import ModelStore
from tests.api.serving import AUTH, KEY, OPTIONS, caller, replying, running, status_answer

TOY = "/forecast/v1/toy"
OLD, NEW = "v2026-11-20-1111111", "v2026-11-21-2222222"
WEIGHTS = {OLD: b"old weights", NEW: b"new weights", "snapshot_2020-12-31": b"of 2020"}


def publish(store: ModelStore, name: str, **changes: object) -> None:
    shelf = store.model("toy")
    day = name.removeprefix("snapshot_")
    fields: dict[str, object] = {"model_id": "toy", "version": name, "item_ids": ("a", "b")}
    if day != name:
        fields |= {"kind": "snapshot", "cutoff": f"{day}T23:59:59Z"}
    with shelf.new_draft() as draft:
        (draft / "weights").mkdir()
        (draft / "weights" / "model.safetensors").write_bytes(WEIGHTS.get(name, name.encode()))
        (draft / "config.json").write_text("{}")
        shelf.publish(draft, ModelMetadata.model_validate(fields | changes))


@pytest.fixture
def store(tmp_path):
    store = ModelStore(StoreConfig(root=tmp_path / "models"))
    before = datetime(2026, 11, 20, tzinfo=UTC)
    publish(store, OLD, created_at=before, metrics={"validation_loss": 0.3})
    publish(store, NEW, created_at=before + timedelta(days=1), cutoff="2026-10-31T00:00:00Z")
    publish(store, "snapshot_2019-12-31")
    publish(store, "snapshot_2020-12-31", source="hf:somebody/model", job_id="tr_1", num_points=9)
    return store


@contextmanager
def serving(store, on_change=None):
    hosts = {"toy": replying("toy", status_answer("ready"))}
    app = create_app(hosts, ApiOptions(**OPTIONS), versions=Versions(store, on_change))
    with running(app) as url, caller(url) as client:
        yield client


@pytest.fixture
def client(store):
    with serving(store) as client:
        yield client


def put(client, alias: str, **body: object) -> httpx2.Response:
    return client.put(f"{TOY}/aliases/{alias}", json={"reason": "of the test"} | body)


def test_versions_are_listed_newest_first_with_what_is_known_of_them(client):
    put(client, "champion", version=OLD)
    answer = client.get(f"{TOY}/versions").json()
    assert answer["count"] == 2
    newest, oldest = answer["versions"]
    assert (newest["name"], oldest["name"]) == (NEW, OLD)
    assert newest["cutoff"] == "2026-10-31T00:00:00Z"
    assert (newest["kind"], newest["source"]) == ("version", f"store:{NEW}")
    assert (oldest["aliases"], newest["aliases"]) == (["champion"], [])
    assert oldest["metrics"] == {"validation_loss": 0.3}
    assert oldest["size_bytes"] == len(b"old weights") + len("{}")
    assert len(oldest["sha256"]) == 64 != newest["sha256"]


def test_snapshots_are_listed_by_their_date(client):
    answer = client.get(f"{TOY}/snapshots").json()
    assert [snapshot["name"] for snapshot in answer["snapshots"]] == [
        "snapshot_2020-12-31",
        "snapshot_2019-12-31",
    ]
    newest = answer["snapshots"][0]
    assert newest["cutoff"] == "2020-12-31T23:59:59Z"
    assert (newest["num_items"], newest["num_points"], newest["job_id"]) == (2, 9, "tr_1")
    assert newest["trained_from"] == "hf:somebody/model"
    assert "item_ids" not in newest


@pytest.mark.parametrize("name", ["snapshot_2020-12-31", "2020-12-31", "best-of-2020"])
def test_a_version_is_shown_whole_by_its_name_its_date_or_an_alias(client, name):
    put(client, "best-of-2020", version="2020-12-31")
    answer = client.get(f"{TOY}/versions/{name}").json()
    assert answer["name"] == "snapshot_2020-12-31"
    assert answer["verified"] is True
    assert answer["item_ids"] == ["a", "b"]
    assert set(answer["files"]) == {"config.json", "weights/model.safetensors"}
    assert answer["files"]["weights/model.safetensors"]["size"] == len(b"of 2020")


def test_a_damaged_version_is_refused_and_the_next_good_one_named(client, store):
    weights = store.model("toy").get(NEW).path / "weights" / "model.safetensors"
    weights.write_bytes(b"bad weights")  # as many bytes as were there
    refused = client.get(f"{TOY}/versions/{NEW}")
    assert (refused.status_code, refused.json()["code"]) == (409, "version_damaged")
    assert "weights/model.safetensors" in refused.json()["detail"]
    assert OLD in refused.json()["detail"]
    assert str(weights.parents[4]) not in refused.text
    assert put(client, "current", version=NEW).json()["code"] == "version_damaged"


def test_a_store_that_does_not_verify_on_loading_still_does_when_asked(tmp_path):
    store = ModelStore(StoreConfig(root=tmp_path, verify_on_load=False))
    publish(store, NEW)
    (store.model("toy").get(NEW).path / "weights" / "model.safetensors").write_bytes(b"bad weights")
    with serving(store) as client:
        assert client.get(f"{TOY}/versions/{NEW}").json()["code"] == "version_damaged"


@pytest.mark.parametrize(
    "name", ["v9.9", "nobody", "2031-12-31", "%2e%2e", "..%5c..", "%00", "ä", "x" * 200]
)
def test_a_name_that_means_nothing_is_not_found(client, name):
    refused = client.get(f"{TOY}/versions/{name}")
    assert refused.status_code == 404, refused.text


def test_of_a_model_without_versions_nothing_is_listed(tmp_path):
    with serving(ModelStore(StoreConfig(root=tmp_path / "not there yet"))) as client:
        assert client.get(f"{TOY}/versions").json() == {"versions": [], "count": 0}
        assert client.get(f"{TOY}/snapshots").json() == {"snapshots": [], "count": 0}
        assert client.get(f"{TOY}/aliases").json() == {"aliases": {}, "count": 0}
        refused = put(client, "current", version=NEW)
        assert (refused.status_code, refused.json()["code"]) == (404, "version_not_found")
    assert not (tmp_path / "not there yet" / "toy").exists()


def test_an_alias_is_set_rolled_back_and_removed_and_its_history_tells_all(client):
    first = put(client, "champion", version=OLD, reason="the first").json()
    assert (first["version"], first["previous"], first["how"]) == (OLD, None, "set")
    second = put(client, "champion", version=NEW, reason="a lower error").json()
    assert (second["version"], second["previous"]) == (NEW, OLD)
    assert client.get(f"{TOY}/aliases").json() == {"aliases": {"champion": NEW}, "count": 1}
    assert client.get(f"{TOY}/aliases/champion").json()["why"] == "a lower error"

    third = put(client, "champion", rollback=True, reason="worse on new items").json()
    assert (third["version"], third["previous"], third["how"]) == (OLD, NEW, "rollback")
    gone = client.delete(f"{TOY}/aliases/champion", params={"reason": "over"}).json()
    assert (gone["version"], gone["why"]) == (None, "over")
    assert client.get(f"{TOY}/aliases/champion").json()["code"] == "version_not_found"
    assert client.delete(f"{TOY}/aliases/champion").status_code == 404

    answer = client.get(f"{TOY}/aliases/champion/history").json()
    assert [change["version"] for change in answer["history"]] == [None, OLD, NEW, OLD]
    assert (answer["count"], answer["served"]) == (4, None)
    whys = [change["why"] for change in answer["history"]]
    assert whys == ["over", "worse on new items", "a lower error", "the first"]
    shortened = client.get(f"{TOY}/aliases/champion/history", params={"limit": 1}).json()
    assert (len(shortened["history"]), shortened["count"]) == (1, 4)


def test_the_history_answers_what_served_at_a_moment(client):
    first = put(client, "current", version=OLD).json()["at"]
    second = put(client, "current", version=NEW).json()["at"]
    moment = datetime.fromisoformat(second)

    def served(on: str) -> str | None:
        asked = client.get(f"{TOY}/aliases/current/history", params={"on": on})
        assert asked.status_code == 200, asked.text
        return asked.json()["served"]

    assert served(first) == OLD
    assert served((moment - timedelta(microseconds=1)).isoformat()) == OLD
    assert served(second) == NEW
    assert served((moment - timedelta(days=1)).isoformat()) is None
    assert served((moment - timedelta(days=1)).date().isoformat()) is None
    assert served(moment.date().isoformat()) == NEW  # by the end of that day
    assert client.get(f"{TOY}/aliases/current/history").json()["served"] == NEW


@pytest.mark.parametrize("on", ["yesterday", "2026-13-01", ""])
def test_what_is_no_date_is_refused(client, on):
    put(client, "current", version=OLD)
    refused = client.get(f"{TOY}/aliases/current/history", params={"on": on})
    assert refused.json()["code"] == "invalid_request"


def test_a_change_names_the_key_by_its_hash_and_never_shows_it(client, store):
    who = put(client, "current", version=OLD).json()["who"]
    assert who.startswith("key-")
    assert len(who) == len("key-") + 6
    assert KEY not in client.get(f"{TOY}/aliases/current/history").text
    other = httpx2.put(
        f"{client.base_url}".rstrip("/") + f"{TOY}/aliases/current",
        json={"version": NEW, "reason": "x"},
    )
    assert other.status_code == 401
    assert store.model("toy").aliases.get("current") == OLD


def test_without_keys_a_change_is_from_here(store):
    hosts = {"toy": replying("toy", status_answer("ready"))}
    app = create_app(hosts, ApiOptions(version="1"), versions=Versions(store))
    with running(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        assert put(client, "current", version=OLD).json()["who"] == "local"


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"version": NEW}, 422, "/reason"),
        ({"version": NEW, "reason": ""}, 422, "/reason"),
        ({"version": NEW, "reason": "x", "force": True}, 422, "/force"),
        ({"version": 5, "reason": "x"}, 422, "/version"),
        ({"rollback": "yes", "reason": "x"}, 422, "/rollback"),
        ({"reason": "x"}, 422, ""),
        ({"version": NEW, "rollback": True, "reason": "x"}, 422, ""),
        ({"version": "v9.9", "reason": "x"}, 404, None),
        ({"version": NEW, "reason": "a\nb"}, 422, None),
        ([], 422, ""),
    ],
)
def test_a_wrong_change_changes_nothing_and_points_at_the_field(
    client, store, body, status, pointer
):
    put(client, "current", version=OLD)
    refused = client.put(f"{TOY}/aliases/current", json=body)
    assert refused.status_code == status, refused.text
    pointers = [error["pointer"] for error in refused.json()["errors"]]
    assert pointers == ([] if pointer is None else [pointer])
    assert store.model("toy").aliases.get("current") == OLD


def test_what_is_not_json_is_no_change(client):
    url = f"{TOY}/aliases/current"
    assert client.put(url, content=b"{").json()["code"] == "bad_data"
    csv = client.put(url, content=b"{}", headers={"Content-Type": "text/csv"})
    assert csv.json()["code"] == "unsupported_format"
    assert client.get(url).status_code == 404


@pytest.mark.parametrize("alias", ["Champion", "v1.0", "2020-12-31", "a b", "a" * 64])
def test_a_name_that_no_alias_may_have_is_refused(client, alias):
    assert put(client, alias, version=OLD).status_code == 422


def test_there_is_nothing_to_roll_back_to_at_first(client):
    put(client, "current", version=OLD)
    assert put(client, "current", rollback=True).json()["code"] == "version_not_found"


def test_each_change_is_told_so_that_it_can_be_copied_elsewhere(store):
    told: queue.Queue[tuple[str, dict[str, str]]] = queue.Queue()

    def on_change(model_id: str) -> None:
        told.put((model_id, store.model(model_id).aliases.all()))

    with serving(store, on_change) as client:
        put(client, "champion", version=OLD)
        assert told.get(timeout=60) == ("toy", {"champion": OLD})
        put(client, "current", version=NEW)
        assert told.get(timeout=60) == ("toy", {"champion": OLD, "current": NEW})
        put(client, "current", version="v9.9")
        client.delete(f"{TOY}/aliases/champion")
        assert told.get(timeout=60) == ("toy", {"current": NEW})
    assert told.empty()


def test_a_gateway_without_a_store_has_none_of_these_routes():
    app = create_app({"toy": replying("toy", status_answer("ready"))}, ApiOptions(**OPTIONS))
    with running(app) as url:
        assert httpx2.get(f"{url}{TOY}/versions", headers=AUTH, timeout=60).status_code == 404
