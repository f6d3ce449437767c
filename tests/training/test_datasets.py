"""Named datasets: kept whole or not at all, within bounds, under harmless names."""

import json
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.core.errors import BadData, Conflict, InvalidRequest, NotFound, TooLarge
from forecast.data.files import FileFormat
from forecast.data.policy import DataPolicy
from forecast.data.tables import TableSchema
from forecast.training.data import SentFile
from forecast.training.datasets import Datasets
from tests.examples import examples
from tests.training.request_helpers import CSV, TABLE

SCHEMA = TableSchema.model_validate(TABLE["schema"])
SENT = SentFile(CSV.encode(), FileFormat.CSV, "sales.csv")


def sent(text: str) -> SentFile:
    return SentFile(text.encode(), FileFormat.CSV, "other.csv")


def rows(number: int) -> SentFile:
    lines = [f"2026-01-{day:02d},a,{number}\n" for day in range(1, 6)]
    return sent("day,shop,sales\n" + "".join(lines))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "datasets"


@pytest.fixture
def datasets(folder):
    return Datasets(folder, DataPolicy())


def test_a_dataset_is_kept_described_read_replaced_and_forgotten(datasets, folder):
    kept, is_new = datasets.put("sales", SENT, SCHEMA)
    assert is_new
    described = kept.described()
    assert described["schema"]["target"] == "sales"
    assert (described["rows"], described["items"]) == (20, 2)
    assert described["start"] == "2026-01-01T00:00:00"
    assert described["end"] == "2026-01-10T00:00:00"
    assert described["source_name"] == "sales.csv"
    assert described["size_bytes"] == len(SENT.body)
    assert str(folder) not in json.dumps(described)
    assert datasets.get("sales") == kept
    frame, schema, _ = datasets.frame("sales")
    assert (len(frame), schema) == (20, SCHEMA)

    replaced, is_new = datasets.put("sales", rows(1), SCHEMA)
    assert not is_new
    assert replaced.reference != kept.reference
    assert len(datasets.frame("sales")[0]) == 5
    assert len(list((folder / "sales").iterdir())) == 2  # nothing of the old is left
    assert [one.name for one in datasets.all()] == ["sales"]

    datasets.remove("sales")
    assert datasets.all() == []
    for ask in (datasets.get, datasets.remove, datasets.frame):
        with pytest.raises(NotFound):
            ask("sales")


def test_another_process_sees_it(datasets, folder):
    kept, _ = datasets.put("sales", SENT, SCHEMA)
    assert Datasets(folder, DataPolicy()).all() == [kept]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../sales", "a/b", "Sales", "-a", ".lock", "a\n", "a" * 64, "ä", "a\0"]
)
def test_a_name_leads_nowhere_else(datasets, folder, name):
    with pytest.raises(InvalidRequest) as refused:
        datasets.put(name, SENT, SCHEMA)
    assert refused.value.errors[0].pointer == "/dataset"
    with pytest.raises(NotFound):
        datasets.frame(name)
    with pytest.raises(NotFound):
        datasets.remove(name)
    assert not folder.exists()


def test_what_does_not_fit_its_schema_is_not_kept(datasets):
    wrong = SCHEMA.model_copy(update={"target": "profit"})
    with pytest.raises(InvalidRequest, match="profit"):
        datasets.put("sales", SENT, wrong)
    with pytest.raises(BadData):
        datasets.put("sales", sent(""), SCHEMA)
    with pytest.raises(BadData):
        datasets.put("sales", SentFile(b"PAR1 or not", FileFormat.PARQUET), SCHEMA)
    assert datasets.all() == []


def test_there_are_only_so_many_and_only_so_large(folder):
    few = Datasets(folder, DataPolicy(max_datasets=2))
    few.put("a", SENT, SCHEMA)
    few.put("b", SENT, SCHEMA)
    few.put("b", rows(2), SCHEMA)  # in the place of another there is room
    with pytest.raises(Conflict, match="delete one"):
        few.put("c", SENT, SCHEMA)
    small = Datasets(folder, DataPolicy(max_datasets_bytes=len(SENT.body) + 10))
    small.remove("b")
    with pytest.raises(Conflict, match="delete another"):
        small.put("b", SENT, SCHEMA)
    with pytest.raises(TooLarge):
        small.put("b", sent(CSV * 2), SCHEMA)
    assert [one.name for one in small.all()] == ["a"]


def test_a_staged_dataset_is_found_by_nobody_before_it_is_placed(datasets, folder):
    kept, _ = datasets.put("sales", SENT, SCHEMA)
    staged = datasets.stage("sales", rows(1), SCHEMA)
    new = datasets.stage("new", rows(2), SCHEMA)
    assert datasets.all() == [kept]
    with datasets.placed(staged):
        assert datasets.get("sales") == staged.dataset
    assert len(datasets.frame("sales")[0]) == 5
    new.discard()
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "sales"]


@pytest.mark.parametrize("before", [[], [SENT], [rows(1)]])
def test_what_was_there_comes_back_where_a_replacement_fails(datasets, folder, before):
    for one in before:
        datasets.put("sales", one, SCHEMA)
    kept = datasets.all()
    staged = datasets.stage("sales", rows(1), SCHEMA)
    with pytest.raises(KeyError), datasets.placed(staged):
        raise KeyError
    assert datasets.all() == kept
    if kept:
        assert len(datasets.frame("sales")[0]) == kept[0].rows
        assert len(list((folder / "sales").iterdir())) == 2
    else:
        assert not (folder / "sales").exists()


def test_a_draft_of_a_killed_writer_is_removed_in_time(datasets, folder):
    old, young = (datasets.stage("sales", rows(day), SCHEMA).draft for day in (1, 2))
    an_hour_ago = time.time() - 4000
    os.utime(old, (an_hour_ago, an_hour_ago))
    datasets.put("sales", SENT, SCHEMA)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_file_that_was_changed_behind_our_back_is_refused(datasets, folder):
    kept, _ = datasets.put("sales", SENT, SCHEMA)
    (folder / "sales" / kept.file).write_text(CSV.replace("a,0", "a,9"))
    with pytest.raises(Conflict, match="put it once more"):
        datasets.frame("sales")
    datasets.put("sales", SENT, SCHEMA)
    assert len(datasets.frame("sales")[0]) == 20


def test_what_a_killed_writer_left_is_no_dataset_and_in_nobodys_way(datasets, folder):
    left = folder / "half"
    left.mkdir(parents=True)
    (left / "data-0123456789abcdef.csv").write_text(CSV)
    (left / ".dataset.json-x").write_text("{")
    other = folder / "torn"
    other.mkdir()
    (other / "dataset.json").write_text('{"name": "torn"')
    assert datasets.all() == []
    kept, is_new = datasets.put("half", rows(3), SCHEMA)
    assert is_new
    assert {path.name for path in left.iterdir()} == {"dataset.json", kept.file}


def test_readers_see_the_old_or_the_new_while_a_dataset_is_replaced(datasets):
    datasets.put("sales", rows(0), SCHEMA)
    is_over = threading.Event()

    def write() -> None:
        for number in range(1, 20):
            datasets.put("sales", rows(number), SCHEMA)
        is_over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not is_over.is_set():
        values = set(datasets.frame("sales")[0]["sales"])
        assert len(values) == 1
        seen |= values
    writer.join()
    assert len(seen) >= 1
    assert set(datasets.frame("sales")[0]["sales"]) == {19}


@settings(max_examples=examples(50), deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "remove"]), st.sampled_from("abc"), st.integers(0, 9)),
        max_size=12,
    )
)
def test_any_order_of_changes_leaves_what_was_put_last(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("datasets")
    datasets = Datasets(folder, DataPolicy(max_datasets=2))
    expected: dict[str, int] = {}
    for change, name, number in changes:
        if change == "put" and (name in expected or len(expected) < 2):
            datasets.put(name, rows(number), SCHEMA)
            expected[name] = number
        elif change == "put":
            with pytest.raises(Conflict):
                datasets.put(name, rows(number), SCHEMA)
        elif name in expected:
            datasets.remove(name)
            del expected[name]
    assert [one.name for one in datasets.all()] == sorted(expected)
    for name, number in expected.items():
        assert set(datasets.frame(name)[0]["sales"]) == {number}
