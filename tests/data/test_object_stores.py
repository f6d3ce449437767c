import fsspec
import pytest

from forecast.core.errors import FileMissing, Forbidden, MissingLibrary, TooLarge
from forecast.data.files import is_object_store, read_object, read_with_fsspec
from forecast.data.policy import DataPolicy

ALLOWED = DataPolicy(object_store_prefixes=("s3://bucket/forecasts/", "gs://other"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s3://bucket/x.csv", True),
        ("gs://bucket/x.csv", True),
        ("https://x/y.csv", False),
        ("s3", False),
        ("local://data/x.csv", False),
        ("memory://x", False),
    ],
)
def test_object_stores_are_told_by_their_scheme(source, expected):
    assert is_object_store(source) is expected


@pytest.mark.parametrize(
    "source",
    [
        "s3://bucket/secret.csv",
        "s3://bucket/forecasts-of-others/x.csv",
        "s3://bucket/forecasts/../secret.csv",
        "s3://bucket/forecasts/x.csv::file:///etc/passwd",
        "gs://otherbucket/x.csv",
        "az://bucket/x.csv",
    ],
)
def test_what_is_under_no_allowed_prefix_is_forbidden(source):
    with pytest.raises(Forbidden, match="operator allows"):
        read_object(source, ALLOWED)


def test_nothing_is_allowed_by_default():
    with pytest.raises(Forbidden):
        read_object("s3://bucket/x.csv", DataPolicy())


def test_a_store_without_its_library_names_what_to_install():
    pytest.importorskip("fsspec")
    with pytest.raises(MissingLibrary, match="pip install no_such_library"):
        read_with_fsspec("s3://bucket/x.csv", "no_such_library", 10)


def test_an_object_is_read_within_its_limit():
    with fsspec.open("memory://folder/x.csv", "wb") as file:
        file.write(b"y\n1\n")
    assert read_with_fsspec("memory://folder/x.csv", "fsspec", 10) == b"y\n1\n"
    with pytest.raises(TooLarge, match="3 bytes"):
        read_with_fsspec("memory://folder/x.csv", "fsspec", 3)
    with pytest.raises(FileMissing):
        read_with_fsspec("memory://folder/none.csv", "fsspec", 3)
