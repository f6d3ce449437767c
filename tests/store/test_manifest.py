import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import InvalidRequest, VersionDamaged
from forecast.core.state import FORMAT_VERSION, ModelMetadata
from forecast.store.checkpoint import digest
from forecast.store.manifest import (
    MANIFEST,
    Manifest,
    load_manifest,
    read_manifest,
    verify,
    write_manifest,
)
from tests.fakes.checkpoint import write

METADATA = ModelMetadata(model_id="toy", version="v1.0", metrics={"mase": 0.9})
FILES = {"config.json": b"{}", "weights/model.safetensors": b"abc", "weights/more/x.json": b""}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "v1.0", FILES)
    write_manifest(tmp_path / "v1.0", METADATA)
    return tmp_path / "v1.0"


def test_a_manifest_names_every_file_and_is_read_back_alike(folder):
    manifest = verify(folder)
    assert manifest.metadata == METADATA
    assert {name: entry.size for name, entry in manifest.files.items()} == {
        name: len(data) for name, data in FILES.items()
    }
    assert manifest.size_bytes == 5
    assert manifest == read_manifest(folder)


PARTS = st.sampled_from(["a", "b", "a-b", "a.b", "B", "model"])
NAMES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(NAMES.map("{}.safetensors".format), st.binary(max_size=8), max_size=6))
def test_the_hash_of_the_weights_is_that_of_the_files(weights):
    with TemporaryDirectory() as name:
        root = write(Path(name), {"config.json": b"{}"} | weights)
        assert write_manifest(root, METADATA).weights_sha256 == digest(root)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_changed_or_longer_is_named(folder, name):
    def state(change):
        before = (folder / name).read_bytes()
        change()
        with pytest.raises(VersionDamaged, match=f"v1.0 is damaged: {name}") as error:
            verify(folder)
        assert str(folder) not in str(error.value)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(before)

    state((folder / name).unlink)
    state(lambda: (folder / name).write_bytes(b"more than was written"))
    if FILES[name]:
        state(lambda: (folder / name).write_bytes(bytes(len(FILES[name]))))
    assert verify(folder)


def test_a_change_of_the_same_size_is_seen_where_contents_are_compared(folder):
    (folder / "weights/model.safetensors").write_bytes(b"abd")
    assert verify(folder, contents=False)
    with pytest.raises(VersionDamaged, match=r"weights/model.safetensors is not what was written"):
        verify(folder)


def test_a_file_more_and_a_link_are_damage(folder):
    (folder / "weights/extra.json").write_text("{}")
    with pytest.raises(VersionDamaged, match=r"weights/extra.json was added"):
        verify(folder)
    (folder / "weights/extra.json").unlink()
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/etc/hostname")
    with pytest.raises(VersionDamaged, match=r"config.json is neither a file nor a folder"):
        verify(folder)


def test_what_is_no_file_is_not_put_into_a_manifest(tmp_path):
    for make in (lambda path: path.symlink_to("/"), os.mkfifo):
        folder = write(tmp_path / make.__name__, {"config.json": b"{}"})
        make(folder / "odd")
        with pytest.raises(InvalidRequest, match="odd is neither a file nor a folder"):
            write_manifest(folder, METADATA)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="needs files"):
        write_manifest(tmp_path / "empty", METADATA)


def test_an_older_format_is_brought_up_to_date_and_a_later_one_refused_with_words(folder):
    document = json.loads((folder / MANIFEST).read_text())
    document["metadata"]["name"] = document["metadata"].pop("version")
    (folder / MANIFEST).write_text(json.dumps(document))

    def rename(old):
        metadata = dict(old["metadata"])
        metadata["version"] = metadata.pop("name")
        return old | {"metadata": metadata}

    manifest = load_manifest(folder, [rename])
    assert (manifest.metadata, manifest.format_version) == (METADATA, 2)
    (folder / MANIFEST).write_text(json.dumps(document | {"format_version": FORMAT_VERSION + 1}))
    with pytest.raises(VersionDamaged, match=f"reads formats up to {FORMAT_VERSION}"):
        load_manifest(folder)
    assert read_manifest(folder) is None


def test_a_manifest_that_is_missing_or_damaged_is_none(folder):
    text = (folder / MANIFEST).read_bytes()
    for damaged in (b"", text[:-9], b"[]", b'{"format_version": true}', b"{" * 100_000, b"\xff"):
        (folder / MANIFEST).write_bytes(damaged)
        with pytest.raises(VersionDamaged, match=r"manifest.json of v1.0"):
            verify(folder)
        assert read_manifest(folder) is None
    (folder / MANIFEST).unlink()
    with pytest.raises(VersionDamaged, match=r"no manifest.json"):
        verify(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = ["format_version", "metadata", "files"]


@given(st.binary() | st.dictionaries(st.sampled_from(FIELDS), JSON).map(json.dumps).map(str.encode))
def test_no_manifest_breaks_the_reader(text):
    with TemporaryDirectory() as name:
        folder = write(Path(name), {MANIFEST: text})
        found = read_manifest(folder)
        assert found is None or isinstance(found, Manifest)
