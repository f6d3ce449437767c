import orjson
import pandas as pd
import pytest

from forecast.core.errors import BadData, InvalidRequest, TooLarge, UnsupportedFormat
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader, Shape

SCHEMA = orjson.dumps({"timestamp": "day", "item_id": "id", "target": "y"})
PARAMETERS = orjson.dumps({"horizon": 3})
CSV = b"id,day,y\n01,2026-01-01,1\n01,2026-01-02,2\n01,2026-01-03,3\n"
TYPE = "multipart/form-data; boundary=line"


def form(*parts, end=b"--line--\r\n"):
    lines = b""
    for name, filename, body in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
        lines += b"--line\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n"
        lines += body + b"\r\n"
    return lines + end


GOOD = [("file", "sales.csv", CSV), ("schema", "", SCHEMA), ("parameters", "", PARAMETERS)]


def test_an_uploaded_csv_is_read_by_its_schema(reader, spec):
    request = reader.read(form(*GOOD), TYPE, spec, default_horizon=None)
    (series,) = request.series
    assert (series.item_id, series.length, request.task.horizon) == ("01", 3, 3)
    assert series.freq.alias == "D"
    assert request.shape is Shape.TABLE


def test_a_binary_file_comes_through_untouched(reader, spec):
    frame = pd.DataFrame({"y": [float(i) for i in range(100)]})
    body = frame.to_parquet(index=False)
    parts = [("file", "y.parquet", body), ("schema", "", b'{"target": "y"}')]
    request = reader.read(form(*parts), TYPE, spec, default_horizon=4)
    assert request.series[0].target[0].tolist() == frame["y"].tolist()
    assert request.task.horizon == 4


def test_the_media_type_tells_the_format_of_a_file_without_an_ending(reader, spec):
    body = form(*GOOD).replace(
        b'filename="sales.csv"\r\n', b'filename="sales"\r\nContent-Type: text/csv\r\n'
    )
    assert reader.read(body, TYPE, spec, default_horizon=None).series[0].length == 3


@pytest.mark.parametrize(
    ("parts", "pointer", "text"),
    [
        (GOOD[1:], "/file", "required"),
        (GOOD[:1], "/schema", "required"),
        ([*GOOD, GOOD[0]], "/file", "sent twice"),
        ([*GOOD, ("extra", "", b"1")], "/extra", "unknown part"),
        ([GOOD[0], ("schema", "", b"{}")], "/schema/target", "required"),
        ([GOOD[0], ("schema", "", b'{"target": "z"}'), GOOD[2]], "/schema/target", "no column"),
        ([*GOOD[:2], ("parameters", "", b'{"horizon": 0}')], "/parameters/horizon", "greater"),
        (GOOD[:2], "/parameters/horizon", "number of steps"),
    ],
)
def test_a_wrong_part_is_pointed_at(reader, spec, parts, pointer, text):
    with pytest.raises(InvalidRequest) as caught:
        reader.read(form(*parts), TYPE, spec, default_horizon=None)
    assert caught.value.errors[0].pointer == pointer
    assert text in caught.value.errors[0].detail


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (form(*GOOD), "multipart/form-data", "no boundary"),
        (form(*GOOD, end=b""), TYPE, "ends before"),
        (form(*GOOD)[:40], TYPE, "ends before"),
        (b"", TYPE, "ends before"),
        (b"garbage", TYPE, "broken"),
        (form(GOOD[0], ("schema", "", b"{")), TYPE, "part 'schema' must hold JSON"),
        (form(GOOD[0], ("schema", "", b"")), TYPE, "part 'schema' must hold JSON"),
        (form(("file", "sales.csv", b""), *GOOD[1:]), TYPE, "CSV file is empty"),
    ],
)
def test_a_broken_upload_is_bad_data(reader, spec, body, content_type, text):
    with pytest.raises(BadData, match=text):
        reader.read(body, content_type, spec, default_horizon=1)


def test_an_unknown_format_is_unsupported(reader, spec):
    parts = [("file", "sales.pkl", CSV), *GOOD[1:]]
    with pytest.raises(UnsupportedFormat, match=r"\.pkl"):
        reader.read(form(*parts), TYPE, spec, default_horizon=1)


def test_parts_are_limited_in_size_and_number(spec):
    reader = RequestReader(DataPolicy(max_file_bytes=1024))
    with pytest.raises(TooLarge, match="1024 bytes"):
        reader.read(
            form(("file", "sales.csv", b" " * 1025), *GOOD[1:]), TYPE, spec, default_horizon=1
        )
    many = form(*[("x", "", b"")] * 20)
    with pytest.raises(TooLarge, match="has more"):
        reader.read(many, TYPE, spec, default_horizon=1)
    with pytest.raises(BadData, match="broken"):
        reader.read(form(("x" * 20_000, "", b"")), TYPE, spec, default_horizon=1)
    much_json = form(GOOD[0], ("schema", "", b" " * 300_000))
    with pytest.raises(TooLarge, match="'schema'"):
        RequestReader(DataPolicy()).read(much_json, TYPE, spec, default_horizon=1)
