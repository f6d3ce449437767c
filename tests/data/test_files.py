import struct
import zipfile
from io import BytesIO

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from forecast.core.errors import BadData, InvalidRequest, TooLarge, UnsupportedFormat
from forecast.data.files import FileFormat, format_of, read_frame
from forecast.data.frames import covariate_column, number_column, text_column, time_column
from forecast.data.policy import DataPolicy

FRAME = pd.DataFrame(
    {
        "day": pd.date_range("2026-01-01", periods=4, freq="D"),
        "y": [1.5, np.nan, 3.0, 4.25],
        "n": [1, 2, 3, 4],
        "kind": ["a", "b", "a", "b"],
        "open": [True, False, True, True],
    }
)


def as_csv(frame):
    return frame.to_csv(index=False).encode()


def as_json(frame):
    return frame.to_json(orient="records", date_format="iso", date_unit="s").encode()


def as_columns(frame):
    return orjson.dumps(
        {
            name: orjson.loads(
                frame[name].to_json(orient="values", date_format="iso", date_unit="s")
            )
            for name in frame
        }
    )


def as_xlsx(frame):
    book = BytesIO()
    frame.to_excel(book, index=False)
    return book.getvalue()


def as_parquet(frame):
    return frame.to_parquet(index=False)


def as_arrow(frame, compression="lz4", new=pa.ipc.new_file):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with new(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def as_feather(frame):
    file = BytesIO()
    frame.to_feather(file)
    return file.getvalue()


FILES = [
    (FileFormat.CSV, as_csv),
    (FileFormat.CSV, lambda frame: b"\xef\xbb\xbf" + as_csv(frame)),
    (FileFormat.CSV, lambda frame: frame.to_csv(index=False, sep=";").encode()),
    (FileFormat.CSV, lambda frame: frame.to_csv(index=False, sep="\t").encode()),
    (FileFormat.JSON, as_json),
    (FileFormat.JSON, as_columns),
    (FileFormat.XLSX, as_xlsx),
    (FileFormat.PARQUET, as_parquet),
    (FileFormat.ARROW, as_feather),
    (FileFormat.ARROW, lambda frame: as_arrow(frame, "zstd", pa.ipc.new_stream)),
    (FileFormat.ARROW, lambda frame: as_arrow(frame, None)),
]


@pytest.mark.parametrize(("file_format", "write"), FILES)
def test_a_file_that_pandas_wrote_is_read_with_its_values(file_format, write):
    frame = read_frame(write(FRAME), file_format, DataPolicy(), frozenset({"day"}))

    assert list(frame.columns) == list(FRAME.columns)
    local = time_column(frame, "day")
    np.testing.assert_array_equal(local.wall, FRAME["day"].to_numpy().astype("datetime64[s]"))
    assert local.clock is None
    np.testing.assert_array_equal(number_column(frame, "y"), FRAME["y"])
    np.testing.assert_array_equal(number_column(frame, "n"), FRAME["n"])
    assert text_column(frame, "kind") == ["a", "b", "a", "b"]
    assert covariate_column(frame, "open").tolist() == ["true", "false", "true", "true"]


@pytest.mark.parametrize("write", [as_parquet, as_feather])
def test_times_with_a_zone_are_put_in_utc(write):
    frame = FRAME.assign(day=FRAME["day"].dt.tz_localize("Europe/Berlin"))
    file_format = FileFormat.PARQUET if write is as_parquet else FileFormat.ARROW
    local = time_column(read_frame(write(frame), file_format, DataPolicy()), "day")
    assert local.offsets is not None
    assert str(local.utc[0]) == "2025-12-31T23:00:00"


def test_types_beyond_the_plain_ones_are_read_or_refused():
    table = pa.table(
        {
            "decimal": pa.array([1, 2], pa.decimal128(10, 2)),
            "date": pa.array([0, 1], pa.date32()),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "none": pa.nulls(2),
        }
    )
    file = BytesIO()
    pq.write_table(table, file)
    frame = read_frame(file.getvalue(), FileFormat.PARQUET, DataPolicy())
    np.testing.assert_array_equal(number_column(frame, "decimal"), [1, 2])
    assert str(time_column(frame, "date").wall[1]) == "1970-01-02T00:00:00"
    assert text_column(frame, "kind") == ["a", "b"]
    assert np.isnan(number_column(frame, "none")).all()

    nested = BytesIO()
    pq.write_table(pa.table({"x": pa.array([[1], [2]])}), nested)
    with pytest.raises(BadData, match="column 'x' is of type list"):
        read_frame(nested.getvalue(), FileFormat.PARQUET, DataPolicy())


def test_text_columns_of_csv_stay_text():
    body = b"id,day,y\n007,2026-01-01,1\nNA,2026-01-02,NA\n"
    frame = read_frame(body, FileFormat.CSV, DataPolicy(), frozenset({"id", "day"}))
    assert text_column(frame, "id") == ["007", "NA"]
    assert np.isnan(number_column(frame, "y")[1])


def test_numbers_of_csv_are_read_to_the_last_digit():
    value = 0.30000000000000004
    frame = read_frame(f"y\n{value!r}\n".encode(), FileFormat.CSV, DataPolicy())
    assert number_column(frame, "y")[0] == value


@pytest.mark.parametrize(
    ("name", "media_type", "expected"),
    [
        ("sales.CSV", "", FileFormat.CSV),
        ("a.b.parquet", "text/csv", FileFormat.PARQUET),
        ("sales.feather", "", FileFormat.ARROW),
        ("sales", "text/csv; charset=utf-8", FileFormat.CSV),
        ("export.php", "application/json", FileFormat.JSON),
    ],
)
def test_the_format_is_told_by_the_name_or_else_the_media_type(name, media_type, expected):
    assert format_of(name, media_type) is expected


@pytest.mark.parametrize("name", ["model.pkl", "archive.zip", "sales", "sales.csv.gz", ""])
def test_another_format_is_unsupported(name):
    with pytest.raises(UnsupportedFormat, match=r"\.csv, \.json, \.xlsx, \.parquet or \.arrow"):
        format_of(name)


BROKEN = [
    (FileFormat.CSV, b"\xff\xfe\x00y\n\x001"),
    (FileFormat.CSV, b'y\n"1\n2\n'),
    (FileFormat.CSV, b"a,b\n1,2\n1,2,3\n"),
    (FileFormat.JSON, b"[1, 2]"),
    (FileFormat.JSON, b"{"),
    (FileFormat.JSON, b'{"y": 1}'),
    (FileFormat.XLSX, b"not a workbook"),
    (FileFormat.XLSX, as_xlsx(FRAME)[:2000]),
    (FileFormat.PARQUET, b"PAR1 and nothing else PAR1"),
    (FileFormat.PARQUET, as_parquet(FRAME)[:-50]),
    (FileFormat.ARROW, b"ARROW1\0\0 and nothing else"),
    (FileFormat.ARROW, as_feather(FRAME)[:600]),
    (FileFormat.ARROW, b""),
]


@pytest.mark.parametrize(("file_format", "body"), BROKEN)
def test_a_broken_file_is_bad_data_that_names_the_format(file_format, body):
    with pytest.raises(BadData) as caught:
        read_frame(body, file_format, DataPolicy())
    assert (
        file_format in caught.value.detail
        or "JSON" in caught.value.detail
        or ("column" in caught.value.detail)
    )


@pytest.mark.parametrize(
    ("file_format", "body"),
    [
        (FileFormat.CSV, b"y\n"),
        (FileFormat.JSON, b"[]"),
        (FileFormat.JSON, b'{"y": []}'),
        (FileFormat.PARQUET, as_parquet(FRAME[:0])),
        (FileFormat.XLSX, as_xlsx(FRAME[:0])),
    ],
)
def test_a_file_without_rows_is_bad_data(file_format, body):
    with pytest.raises(BadData, match="no rows"):
        read_frame(body, file_format, DataPolicy())


def test_a_damaged_arrow_file_never_escapes_as_another_error():
    whole = as_feather(FRAME)
    refused = 0
    for at in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        try:
            frame = read_frame(bytes(damaged), FileFormat.ARROW, DataPolicy())
        except (BadData, TooLarge):
            refused += 1
        else:
            assert len(frame) == 4
    assert refused > 20


def test_two_columns_of_one_name_are_bad_data():
    table = pa.table([pa.array([1]), pa.array([2])], names=["y", "y"])
    file = BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(BadData, match="two columns named 'y'"):
        read_frame(file.getvalue(), FileFormat.ARROW, DataPolicy())


@pytest.mark.parametrize(("file_format", "write"), FILES)
def test_rows_and_columns_are_limited(file_format, write):
    with pytest.raises(TooLarge, match="rows"):
        read_frame(write(FRAME), file_format, DataPolicy(max_rows=3))
    with pytest.raises(TooLarge, match="columns"):
        read_frame(write(FRAME), file_format, DataPolicy(max_columns=4))


ZEROS = pd.DataFrame({"y": np.zeros(2_000_000)})


@pytest.mark.parametrize(
    ("file_format", "body"),
    [
        (FileFormat.PARQUET, ZEROS.to_parquet(index=False, compression="zstd")),
        (FileFormat.ARROW, as_arrow(ZEROS, "zstd")),
        (FileFormat.ARROW, as_arrow(ZEROS, "zstd", pa.ipc.new_stream)),
    ],
)
def test_a_small_file_that_unpacks_to_much_is_too_large(file_format, body):
    assert len(body) < 100_000
    with pytest.raises(TooLarge, match="unpacks to|more than"):
        read_frame(body, file_format, DataPolicy(max_decompressed_bytes=1_000_000))


def test_an_arrow_buffer_that_claims_a_terabyte_is_too_large():
    body = bytearray(as_arrow(ZEROS, "zstd", pa.ipc.new_stream))
    size = struct.pack("<q", ZEROS.size * 8)
    assert body.count(size) >= 1
    at = body.rindex(size)
    body[at : at + 8] = struct.pack("<q", 1 << 40)
    with pytest.raises(TooLarge, match="unpacks to"):
        read_frame(bytes(body), FileFormat.ARROW, DataPolicy())


def test_a_parquet_file_of_one_long_text_many_times_is_not_multiplied():
    indices = pa.array([0] * 50_000, pa.int32())
    text = pa.array(["x" * 100_000])
    table = pa.table({"y": pa.DictionaryArray.from_arrays(indices, text)})
    file = BytesIO()
    pq.write_table(table, file)
    assert len(file.getvalue()) < 1_000_000
    frame = read_frame(file.getvalue(), FileFormat.PARQUET, DataPolicy())
    with pytest.raises(InvalidRequest, match="longer than 256"):
        text_column(frame, "y")


def test_a_workbook_that_unpacks_to_much_is_too_large():
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 5_000_000)
    with pytest.raises(TooLarge, match="unpacks to 5000000 bytes"):
        read_frame(file.getvalue(), FileFormat.XLSX, DataPolicy(max_decompressed_bytes=1_000_000))


def test_the_first_sheet_counts_and_blank_rows_at_its_end_do_not():
    book = Workbook()
    sheet = book.active
    sheet.append(["day", "y"])
    sheet.append(["2026-01-01", 1])
    sheet.append([None, None])
    sheet.append(["2026-01-03", 3])
    sheet["A9"] = None
    book.create_sheet("other").append(["x"])
    file = BytesIO()
    book.save(file)
    frame = read_frame(file.getvalue(), FileFormat.XLSX, DataPolicy())
    assert frame["day"].tolist() == ["2026-01-01", None, "2026-01-03"]


@pytest.mark.parametrize("header", [[None, "y"], ["y", "y"], []])
def test_a_workbook_without_names_is_bad_data(header):
    book = Workbook()
    book.active.append(header)
    book.active.append([1, 2])
    file = BytesIO()
    book.save(file)
    with pytest.raises(BadData):
        read_frame(file.getvalue(), FileFormat.XLSX, DataPolicy())
