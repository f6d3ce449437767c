import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import (
    FileMissing,
    Forbidden,
    InvalidRequest,
    UnsupportedFormat,
    VersionDamaged,
    VersionNotFound,
)
from forecast.store.checkpoint import digest, find_checkpoint
from forecast.store.config import StoreConfig
from forecast.store.sources import (
    AliasSource,
    HubSource,
    LocalSource,
    PackageSource,
    RunSource,
    StoreSource,
    VersionSource,
    confined,
    parse,
)
from forecast.store.versions import ModelStore
from tests.fakes.checkpoint import CHECKPOINT, WEIGHTS, names_below, safetensors, write
from tests.store.stored import MODEL_ID, publish, shelf_at


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf:amazon/chronos-bolt-small", HubSource("amazon/chronos-bolt-small")),
        ("hf:org/name@v1.2", HubSource("org/name", "v1.2")),
        ("hf:org/name@refs/pr/3", HubSource("org/name", "refs/pr/3")),
        ("hf:gpt2", HubSource("gpt2")),
        ("local:mine/v1", LocalSource("mine/v1")),
        ("local:/srv/models/mine", LocalSource("/srv/models/mine")),
        ("mlflow:models:/demand forecast@champion", AliasSource("demand forecast", "champion")),
        ("mlflow:models:/demand/12", VersionSource("demand", "12")),
        ("mlflow:runs:/0a1b2c/model/best", RunSource("0a1b2c", "model/best")),
        ("store:current", StoreSource("current")),
        ("store:v2026-11-21-3f9c2a1", StoreSource("v2026-11-21-3f9c2a1")),
        ("store:2020-12-31", StoreSource("2020-12-31")),
        ("package:sprout", PackageSource("sprout")),
    ],
)
def test_a_source_is_read_and_written_alike(text, source):
    assert parse(text) == source
    assert str(source) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hf",
        "hf:",
        "hf:org/name@",
        "hf:../../etc",
        "hf:org/../name",
        "hf:a/b/c",
        "hf:org/name@../main",
        "hf:org/name@main@other",
        "hf:org/na me",
        "local:",
        "local: ",
        "local:a\x00b",
        "local:\ud800",
        "mlflow:",
        "mlflow:models:/name",
        "mlflow:models:/name/latest",
        "mlflow:models:/name/0",
        "mlflow:models:/name@",
        "mlflow:models:/a/b@c",
        "mlflow:runs:/id",
        "mlflow:runs:/id/",
        "mlflow:runs:/id/../other/model",
        "mlflow:runs:/id//etc",
        "mlflow:file:///etc",
        "HF:org/name",
        "store:",
        "store:../v1",
        "store:a/b",
        "store:.hidden",
        "package:",
        "package:../sprout",
    ],
)
def test_what_is_no_source_is_refused_with_the_form_expected(text):
    with pytest.raises(InvalidRequest, match=r"expected|starts with one of|printable") as error:
        parse(text)
    assert error.value.errors[0].pointer == "/source"


@pytest.mark.parametrize("text", ["s3:bucket/x", "file:/etc", "name-only"])
def test_an_unknown_scheme_is_refused_with_the_known_ones(text):
    with pytest.raises(InvalidRequest, match="one of hf:, local:, mlflow:, store:, package:"):
        parse(text)


@given(st.text() | st.from_regex(r"(hf|local|mlflow):(models|runs)?:?/?.{0,30}", fullmatch=True))
def test_any_text_is_a_source_that_reads_back_or_is_refused(text):
    try:
        source = parse(text)
    except InvalidRequest:
        return
    assert parse(str(source)) == source
    if not isinstance(source, LocalSource):
        assert ".." not in str(source).split("/")


PARTS = st.sampled_from(["..", ".", "mine", "link_out", "link_in", "v1", "", "~", "*"])


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> list[Path]:
    """Two roots beside a secret, with links that stay inside and links that lead out."""
    base = tmp_path_factory.mktemp("confinement")
    write(base / "secret")
    first, second = base / "first", base / "second"
    write(first / "mine/v1")
    write(second / "other/v1")
    (first / "link_out").symlink_to(base / "secret")
    (first / "mine/link_out").symlink_to("../../secret")
    (first / "link_in").symlink_to("mine")
    (first / "link_to_second").symlink_to(second / "other")
    (first / "loop").symlink_to("loop")
    write(first / "spy", {"model.safetensors": WEIGHTS})
    (first / "spy/config.json").symlink_to(base / "secret/config.json")
    return [first, second]


@given(parts=st.lists(PARTS, min_size=1, max_size=8), absolute=st.booleans())
def test_no_path_leads_out_of_the_roots(roots, parts, absolute):
    name = "/".join(parts)
    if absolute:
        name = f"{roots[0]}/{name}"
    try:
        found = confined(name, roots)
    except (Forbidden, FileMissing, InvalidRequest):
        return
    assert found == Path(os.path.realpath(found))
    assert any(found.is_relative_to(root) for root in roots)
    assert "secret" not in found.parts


@pytest.mark.parametrize(
    "name", ["link_out", "mine/link_out", "../secret", "/etc", "spy", "/", "..", "missing/../../x"]
)
def test_what_really_lies_outside_is_forbidden(roots, name):
    with pytest.raises(Forbidden) as error:
        confined(name, roots)
    assert str(roots[0].parent) not in str(error.value)


def test_an_absolute_path_outside_is_forbidden_whether_or_not_it_exists(roots):
    messages = set()
    for name in ("secret", "secret/none"):
        with pytest.raises(Forbidden) as error:
            confined(str(roots[0].parent / name), roots)
        messages.add(str(error.value))
    assert len(messages) == 1


@pytest.mark.parametrize("name", ["nothing", "mine/v2", "n" * 300, "loop/x"])
def test_what_is_missing_inside_is_said_to_be_missing(roots, name):
    with pytest.raises(FileMissing):
        confined(name, roots)


def test_a_link_between_two_roots_may_be_followed(roots):
    assert confined("link_to_second/v1", roots) == roots[1] / "other/v1"


def test_a_file_is_no_folder(roots):
    with pytest.raises(InvalidRequest, match="name the folder"):
        confined("mine/v1/config.json", roots)


def test_a_local_folder_resolves_where_it_lies_with_its_digest(make_resolver, tmp_path):
    folder = write(tmp_path / "store/chronos/local/mine")
    resolver = make_resolver(roots=[tmp_path / "store"])
    resolved = resolver.resolve("local:mine", model_id="chronos")
    assert (resolved.source, resolved.path) == ("local:mine", folder)
    assert resolved.sha256 == digest(folder)


def test_a_models_own_folder_is_looked_in_before_the_root(make_resolver, tmp_path):
    write(tmp_path / "store/mine")
    own = write(tmp_path / "store/chronos/local/mine")
    resolver = make_resolver(roots=[tmp_path / "store"])
    assert resolver.resolve("local:mine", model_id="chronos").path == own
    assert resolver.resolve("local:mine", model_id="prophet").path == tmp_path / "store/mine"


def test_a_folder_given_to_one_model_is_closed_to_others(make_resolver, tmp_path):
    folder = write(tmp_path / "chronos/mine")
    resolver = make_resolver(roots={"chronos": tmp_path / "chronos"})
    assert resolver.resolve("local:mine", model_id="chronos").path == folder
    with pytest.raises(Forbidden):
        resolver.resolve(f"local:{folder}", model_id="prophet")


def test_a_local_folder_of_pickles_is_refused(make_resolver, tmp_path):
    write(tmp_path / "mine", {"config.json": b"{}", "pytorch_model.bin": b"\x80"})
    with pytest.raises(UnsupportedFormat, match="convert them to safetensors"):
        make_resolver(roots=[tmp_path]).resolve("local:mine", model_id="chronos")


def test_the_digest_of_several_files_is_that_of_their_checksum_lines(tmp_path):
    import hashlib

    parts = {"a/model-1.safetensors": safetensors(1), "model-2.safetensors": safetensors(2)}
    write(tmp_path, CHECKPOINT | parts)
    lines = [
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in sorted({"model.safetensors": WEIGHTS, **parts}.items())
    ]
    assert digest(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_weights_that_change_in_place_change_their_digest(tmp_path):
    write(tmp_path)
    before = digest(tmp_path)
    write(tmp_path, {"model.safetensors": safetensors(7.0) + b" "})
    assert digest(tmp_path) != before


@pytest.mark.parametrize(
    ("below", "found"),
    [
        ("", ""),
        ("artifacts/checkpoint", "artifacts/checkpoint"),
        ("deep/er/still", "deep/er/still"),
    ],
)
def test_a_checkpoint_is_found_below_its_wrapper(tmp_path, below, found):
    write(tmp_path, {"MLmodel": b"", "config.txt": b""})
    write(tmp_path / below)
    assert find_checkpoint(tmp_path) == tmp_path / found


def test_what_save_model_wrote_is_found_at_its_own_config(tmp_path):
    write(tmp_path / "m", {"config.json": b"{}", "weights/model.safetensors": WEIGHTS})
    assert find_checkpoint(tmp_path) == tmp_path / "m"
    assert names_below(tmp_path / "m") == {"config.json", "weights/model.safetensors"}


def test_two_checkpoints_side_by_side_must_be_told_apart(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    with pytest.raises(InvalidRequest, match="several checkpoints.*a, b"):
        find_checkpoint(tmp_path)


def test_a_version_of_the_store_is_resolved_to_what_its_alias_means(tmp_path, make_resolver):
    shelf = shelf_at(tmp_path / "models")
    version = publish(shelf, "v1.0", "weights")
    shelf.aliases.set("current", "v1.0", who="me")
    resolver = make_resolver(store=ModelStore(StoreConfig(root=tmp_path / "models")))
    found = resolver.resolve("store:current", model_id=MODEL_ID)
    assert (found.source, found.path) == ("store:v1.0", version.path)
    assert found.sha256 == version.sha256 == digest(version.path)
    with pytest.raises(VersionNotFound, match="train one"):
        resolver.resolve("store:current", model_id="other")
    (version.path / "config.json").write_text("[]")
    with pytest.raises(VersionDamaged, match="config.json"):
        resolver.resolve("store:v1.0", model_id=MODEL_ID)


def test_a_server_without_a_store_says_so(make_resolver):
    with pytest.raises(InvalidRequest, match="keeps no store"):
        make_resolver().resolve("store:current", model_id=MODEL_ID)


def test_weights_of_the_package_are_those_that_were_published_or_refused(
    make_resolver, tmp_path, monkeypatch
):
    folder = tmp_path / "seedling" / "weights"
    write(folder, {"model.safetensors": WEIGHTS})
    monkeypatch.setattr("forecast.store.sources._PACKAGED", tmp_path)
    listed = hashlib.sha256(WEIGHTS).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{listed}  model.safetensors\n")
    resolver = make_resolver()
    found = resolver.resolve("package:seedling", model_id="seedling")
    assert (found.source, found.path, found.sha256) == ("package:seedling", folder, listed)
    (folder / "model.safetensors").write_bytes(WEIGHTS + b"more")
    with pytest.raises(VersionDamaged, match=r"model.safetensors.*install the package again"):
        resolver.resolve("package:seedling", model_id="seedling")
    with pytest.raises(FileMissing, match="no weights of tree are installed"):
        resolver.resolve("package:tree", model_id="tree")
