import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecast.core.errors import FileMissing, Forbidden, ForecastError, TooLarge
from forecast.data.files import read_local

SECRET = b"nobody may read this"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("tree")
    (base / "roots" / "one" / "uploads").mkdir(parents=True)
    (base / "roots" / "two").mkdir()
    (base / "secret.csv").write_bytes(SECRET)
    (base / "roots" / "one-but-longer").mkdir()
    (base / "roots" / "one-but-longer" / "secret.csv").write_bytes(SECRET)
    one = base / "roots" / "one"
    (one / "sales.csv").write_bytes(b"one")
    (one / "uploads" / "sales.csv").write_bytes(b"deeper")
    (base / "roots" / "two" / "other.csv").write_bytes(b"two")
    (one / "link.csv").symlink_to(base / "secret.csv")
    (one / "inside.csv").symlink_to(one / "sales.csv")
    (one / "folder").symlink_to(base)
    (one / "loop.csv").symlink_to(one / "loop.csv")
    os.mkfifo(one / "pipe.csv")
    return base


@pytest.fixture
def roots(tree: Path) -> tuple[Path, ...]:
    return (tree / "roots" / "one", tree / "roots" / "two")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sales.csv", b"one"),
        ("local://data/sales.csv", b"one"),
        ("local://sales.csv", b"one"),
        ("uploads/sales.csv", b"deeper"),
        ("local://data/uploads/sales.csv", b"deeper"),
        ("uploads/../sales.csv", b"one"),
        ("other.csv", b"two"),
        ("inside.csv", b"one"),
    ],
)
def test_a_file_under_a_root_is_read(roots, name, expected):
    assert read_local(name, roots, 1000) == expected


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.csv",
        "local://data/../../secret.csv",
        "../one-but-longer/secret.csv",
        "uploads/../../../secret.csv",
        "link.csv",
        "folder/secret.csv",
        "/etc/passwd",
        "local:///etc/passwd",
        "local://data//etc/passwd",
        "sales.csv\0.csv",
        "..\\..\\secret.csv",
        "local://",
        "local://data/",
        "x" * 5000,
        "x" * 1000,
        "loop.csv",
        "loop.csv/x.csv",
    ],
)
def test_a_name_that_leads_elsewhere_is_forbidden(tree, roots, name):
    with pytest.raises(Forbidden) as caught:
        read_local(name, roots, 1000)
    assert str(tree) not in caught.value.detail


@pytest.mark.parametrize("name", ["missing.csv", "uploads", "pipe.csv", "local://data/none.csv"])
def test_what_is_no_file_under_a_root_is_missing(tree, roots, name):
    with pytest.raises(FileMissing) as caught:
        read_local(name, roots, 1000)
    assert str(tree) not in caught.value.detail


def test_without_roots_every_file_is_missing():
    with pytest.raises(FileMissing):
        read_local("sales.csv", (), 1000)


def test_a_file_larger_than_allowed_is_too_large(roots):
    with pytest.raises(TooLarge, match="2 bytes"):
        read_local("sales.csv", roots, 2)


PARTS = st.sampled_from(
    [
        "..",
        ".",
        "",
        "sales.csv",
        "secret.csv",
        "uploads",
        "folder",
        "link.csv",
        "one",
        "one-but-longer",
        "roots",
        "local:",
        "data",
        "\0",
        "~",
        "%2e%2e",
        "tmp",
        "etc",
        "passwd",
        "…",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    parts=st.lists(PARTS, max_size=9),
    prefix=st.sampled_from(["", "/", "local://", "local://data/"]),
)
def test_no_name_whatsoever_reads_a_secret(roots, parts, prefix):
    try:
        body = read_local(prefix + "/".join(parts), roots, 1000)
    except ForecastError:
        return
    assert body in {b"one", b"deeper", b"two"}
