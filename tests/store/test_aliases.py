import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from forecast.core.errors import Conflict, InvalidRequest, VersionDamaged, VersionNotFound
from forecast.store.alias_log import AliasChange
from forecast.store.aliases import MAX_ALIASES
from tests.store.stored import MODEL_ID, publish, publish_snapshot, shelf_at


@pytest.fixture
def shelf(tmp_path):
    shelf = shelf_at(tmp_path)
    for name in ("v1.0", "v1.1", "v1.2"):
        publish(shelf, name)
    return shelf


@pytest.fixture
def log(shelf, tmp_path):
    return tmp_path / MODEL_ID / "aliases.log"


def test_a_change_is_seen_by_every_process_with_who_and_why(shelf, tmp_path):
    other = shelf_at(tmp_path)
    assert other.aliases.all() == {}
    shelf.aliases.set("current", "v1.0", who="key-3f9c2a", why="the first")
    shelf.aliases.set("current", "v1.1", who="job 7", why="better by 3 %")
    shelf.aliases.set("champion", "current", who="me")
    assert other.aliases.all() == {"champion": "v1.1", "current": "v1.1"}
    first, second = other.aliases.history("current")
    assert (first.version, first.previous, first.who, first.why) == (
        "v1.0",
        None,
        "key-3f9c2a",
        "the first",
    )
    assert (second.version, second.previous, second.how) == ("v1.1", "v1.0", "set")
    root = tmp_path / MODEL_ID
    assert (root / "current").read_text() == "v1.1\n"
    assert json.loads((root / "aliases.json").read_text()) == other.aliases.all()


def test_what_served_on_a_date_is_answered(shelf):
    changes = [shelf.aliases.set("current", name, who="me") for name in ("v1.0", "v1.1")]
    changes.append(shelf.aliases.remove("current", who="me", why="withdrawn"))
    served = shelf.aliases.served_on
    assert served("current", changes[0].at - timedelta(days=1)) is None
    assert [served("current", change.at) for change in changes] == ["v1.0", "v1.1", None]
    assert served("current", changes[1].at.replace(tzinfo=None)) == "v1.1"
    assert served("unknown", datetime.now(UTC)) is None


def test_rollbacks_go_back_further_each_time_and_stand_in_the_history(shelf):
    for name in ("v1.0", "v1.1", "v1.2"):
        shelf.aliases.set("current", name, who="me")
    assert shelf.aliases.rollback("current", who="me", why="worse").version == "v1.1"
    assert shelf.aliases.rollback("current", who="me").version == "v1.0"
    with pytest.raises(VersionNotFound, match="no earlier version"):
        shelf.aliases.rollback("current", who="me")
    assert [change.how for change in shelf.aliases.history("current")] == [
        *["set"] * 3,
        *["rollback"] * 2,
    ]


def test_a_rollback_passes_over_what_is_damaged_and_undoes_a_removal(shelf):
    for name in ("v1.0", "v1.1", "v1.2"):
        shelf.aliases.set("current", name, who="me")
    (shelf.get("v1.1").path / "config.json").write_text("[]")
    assert shelf.aliases.rollback("current", who="me").version == "v1.0"
    shelf.aliases.remove("current", who="me")
    assert shelf.aliases.get("current") is None
    assert shelf.aliases.rollback("current", who="me").version == "v1.0"


def test_setting_what_is_set_already_writes_nothing(shelf, log):
    change = shelf.aliases.set("current", "v1.0", who="me")
    assert shelf.aliases.set("current", "v1.0", who="other") == change
    assert len(log.read_text().splitlines()) == 1


def test_an_alias_means_only_what_is_there_and_good(shelf):
    with pytest.raises(VersionNotFound, match="v9"):
        shelf.aliases.set("current", "v9", who="me")
    (shelf.get("v1.1").path / "config.json").write_text("[]")
    with pytest.raises(VersionDamaged):
        shelf.aliases.set("current", "v1.1", who="me")
    with pytest.raises(VersionNotFound, match="no alias 'current'"):
        shelf.aliases.remove("current", who="me")
    publish_snapshot(shelf, "2020-12-31")
    shelf.aliases.set("current", "2020-12-31", who="me")
    assert shelf.get("current").kind == "snapshot"


@pytest.mark.parametrize(
    "alias", ["", "Champion", "a/b", "..", "v1", "v1-x", "snapshot-new", "2020-12-31", "a" * 64]
)
def test_no_alias_can_be_taken_for_a_version_or_a_path(shelf, alias):
    with pytest.raises(InvalidRequest):
        shelf.aliases.set(alias, "v1.0", who="me")


@pytest.mark.parametrize(
    ("who", "why"), [("", ""), ("a" * 101, ""), ("a\nb", ""), ("me", "b" * 1001), ("me", "\x00")]
)
def test_who_and_why_are_short_and_printable(shelf, who, why):
    with pytest.raises(InvalidRequest, match="say wh"):
        shelf.aliases.set("current", "v1.0", who=who, why=why)


def test_there_are_only_so_many_aliases(shelf):
    for number in range(MAX_ALIASES):
        shelf.aliases.set(f"a{number}", "v1.0", who="me")
    with pytest.raises(Conflict, match="remove one"):
        shelf.aliases.set("one-more", "v1.0", who="me")
    shelf.aliases.set("a0", "v1.1", who="me")


def test_a_line_that_was_not_finished_is_passed_over_and_cut_off(shelf, log, tmp_path):
    shelf.aliases.set("current", "v1.0", who="me")
    whole = log.read_bytes()
    for torn in (b"{", whole[:-1], b"\x00" * 50):
        log.write_bytes(whole + torn)
        assert shelf_at(tmp_path).aliases.all() == {"current": "v1.0"}
    assert shelf.aliases.all() == {"current": "v1.0"}
    shelf_at(tmp_path).aliases.set("current", "v1.1", who="me")
    assert len(log.read_bytes().splitlines()) == 2
    assert shelf.aliases.get("current") == "v1.1"
    assert [change.version for change in shelf.aliases.history("current")] == ["v1.0", "v1.1"]


def test_a_damaged_line_costs_only_itself(shelf, log, tmp_path):
    shelf.aliases.set("current", "v1.0", who="me")
    with log.open("ab") as file:
        file.write(b"\xff{]\n")
    shelf.aliases.set("champion", "v1.1", who="me")
    assert shelf_at(tmp_path).aliases.all() == {"champion": "v1.1", "current": "v1.0"}


def test_views_that_a_killed_writer_left_behind_are_put_right_by_the_next(shelf, tmp_path):
    shelf.aliases.set("current", "v1.1", who="me")
    root = tmp_path / MODEL_ID
    (root / "current").write_text("v1.0\n")
    (root / "aliases.json").unlink()
    assert shelf_at(tmp_path).get("current").name == "v1.1"
    shelf.retain()
    assert (root / "current").read_text() == "v1.1\n"
    assert json.loads((root / "aliases.json").read_text()) == {"current": "v1.1"}
    shelf.aliases.remove("current", who="me")
    assert not (root / "current").exists()


def test_times_never_go_back_though_the_clock_does(shelf, log):
    ahead = datetime.now(UTC) + timedelta(days=1)
    line = AliasChange(at=ahead, alias="current", version="v1.0", who="me").model_dump_json()
    log.write_text(line + "\n")
    assert shelf.aliases.set("current", "v1.1", who="me").at >= ahead


def test_a_long_log_is_read_and_added_to(shelf, log):
    at = datetime(2020, 1, 1, tzinfo=UTC)
    lines = [
        AliasChange(
            at=at + timedelta(minutes=number), alias="current", version=f"v1.{number % 3}", who="me"
        ).model_dump_json()
        for number in range(100_000)
    ]
    log.write_text("\n".join(lines) + "\n")
    assert shelf.aliases.get("current") == "v1.0"
    assert shelf.aliases.rollback("current", who="me").version == "v1.2"
    assert len(shelf.aliases.history("current")) == 100_001
    assert shelf.aliases.served_on("current", at + timedelta(minutes=50_000)) == "v1.2"


def test_changes_at_once_are_all_kept(shelf, tmp_path):
    def change(number):
        aliases = shelf_at(tmp_path).aliases
        aliases.set(f"a{number % 4}", f"v1.{number % 3}", who=f"thread {number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, range(40)))
    for number in range(4):
        history = shelf.aliases.history(f"a{number}")
        assert [one.previous for one in history] == [None, *(one.version for one in history[:-1])]
        assert [one.at for one in history] == sorted(one.at for one in history)
