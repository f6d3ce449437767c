import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
from datetime import date, datetime
from io import BytesIO

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from forecast.core.errors import BadData, InvalidRequest, TooLarge, UnsupportedFormat
from forecast.data.files import FileFormat, format_of, read_frame
from forecast.data.policy import DataPolicy
from forecast.data.tables import covariate_column, number_column, text_column, time_column
from forecast.data.text_files import numbers_of

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
    assert covariate_column(frame, "open").tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("write", [as_parquet, as_feather])
def test_times_with_a_zone_are_those_of_its_clock(write):
    frame = FRAME.assign(day=FRAME["day"].dt.tz_localize("Europe/Berlin"))
    file_format = FileFormat.PARQUET if write is as_parquet else FileFormat.ARROW
    local = time_column(read_frame(write(frame), file_format, DataPolicy()), "day")
    assert str(local.wall[0]) == "2026-01-01T00:00:00"
    assert str(local.utc[0]) == "2025-12-31T23:00:00"
    assert (local.zone, local.clock) == ("Europe/Berlin", "+01:00")


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


CSV_TEXT = (
    "größe;tag;y\nNA;2026-01-01;1,5\nEU;2026-01-02;n/a\nNone;2026-01-03;-\nEU;2026-01-04;-2\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_spreadsheet_files_are_read_in_any_encoding_with_decimal_commas(encoding, pack):
    body = pack(CSV_TEXT.encode(encoding))
    frame = read_frame(body, FileFormat.CSV, DataPolicy(), frozenset({"tag"}))
    assert list(frame.columns) == ["größe", "tag", "y"]
    np.testing.assert_array_equal(number_column(frame, "y"), [1.5, np.nan, np.nan, -2])
    assert covariate_column(frame, "größe").tolist() == ["NA", "EU", "None", "EU"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("y\n1\n".encode("utf-16-le"), "UTF-16"),
        ("y\n1\n".encode("utf-32-be"), "UTF-32"),
        (b"\xff\xfe\x00\xd8", "UTF-16"),
        (b"\xff\xfe\x00\x00\x00\xd8\x00\x00", "UTF-32"),
        (gzip.compress(b"y\n1\n", mtime=0)[:-9], "gzip"),
        (b"\x1f\x8b and nothing else", "gzip"),
    ],
)
def test_an_encoding_that_cannot_be_read_is_named(body, said):
    with pytest.raises(BadData, match=said):
        read_frame(body, FileFormat.CSV, DataPolicy())


def zipped() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("sales.csv", "y\n1\n")
    return file.getvalue()


def tarred() -> bytes:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("sales.csv"), BytesIO())
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (zipped(), "a zip archive or a workbook"),
        (tarred(), "a tar archive"),
        (gzip.compress(tarred(), mtime=0), "a tar archive"),
        (bz2.compress(b"y\n1\n"), "packed with bzip2"),
        (lzma.compress(b"y\n1\n"), "packed with xz"),
        (as_parquet(FRAME), "a Parquet file"),
        (as_arrow(FRAME), "an Arrow file"),
        (as_xlsx(FRAME), "a zip archive or a workbook"),
        (b"%PDF-1.7\n", "a PDF document"),
    ],
)
def test_a_file_that_is_no_text_is_refused_by_what_it_is(body, said):
    with pytest.raises(UnsupportedFormat, match=f"the file is {said}; send"):
        read_frame(body, FileFormat.CSV, DataPolicy())


@pytest.mark.parametrize("write", [as_parquet, as_feather])
def test_periods_are_refused_with_the_way_to_send_them(write):
    months = pd.period_range("2026-01", periods=len(FRAME), freq="M")
    file_format = FileFormat.PARQUET if write is as_parquet else FileFormat.ARROW
    with pytest.raises(BadData, match=r"'day' holds periods.*df\['day'\]\.dt\.to_timestamp\(\)"):
        read_frame(write(FRAME.assign(day=months)), file_format, DataPolicy())
    frame = FRAME.assign(day=months.to_timestamp())
    local = time_column(read_frame(write(frame), file_format, DataPolicy()), "day")
    assert str(local.wall[1]) == "2026-02-01T00:00:00"


@pytest.mark.parametrize("cells", [["1.110", "2.500"], ["950", "1.110"], ["", "-1.110"]])
def test_a_dot_that_may_group_thousands_is_refused_where_it_is_read_as_a_number(cells):
    row, cell = next((n, one) for n, one in enumerate(cells, start=1) if "." in one)
    lines = "".join(f"{cell};{n}.5\n" for n, cell in enumerate(cells))
    frame = read_frame(f"y;z\n{lines}".encode(), FileFormat.CSV, DataPolicy())
    said = rf"'y', row {row} of the data: '{cell}' may be {cell.replace('.', '')} or {float(cell)}"
    with pytest.raises(InvalidRequest, match=said):
        number_column(frame, "y")
    np.testing.assert_array_equal(number_column(frame, "z"), [0.5, 1.5])


@pytest.mark.parametrize(
    ("separator", "cells"),
    [
        (";", ["1.110", "2.5"]),
        (";", ["1.110", "0.250"]),
        (";", ["1.110", "1110"]),
        (",", ["1.110", "950"]),
    ],
)
def test_a_dot_is_a_decimal_point_where_another_cell_or_the_commas_say_so(separator, cells):
    lines = "".join(f"{cell}{separator}a\n" for cell in cells)
    frame = read_frame(f"y{separator}z\n{lines}".encode(), FileFormat.CSV, DataPolicy())
    np.testing.assert_array_equal(number_column(frame, "y"), [float(cell) for cell in cells])


@pytest.mark.parametrize("mark", ["n/a", "NA", "-", "?", ".", "null", "NaN", "", "#N/A"])
def test_marks_of_missing_values_and_booleans_are_read_among_numbers(mark):
    body = f"t,y,open\na,1,true\nb,{mark},{mark}\nc,3.5e1,False\n".encode()
    frame = read_frame(body, FileFormat.CSV, DataPolicy(), frozenset({"t"}))
    np.testing.assert_array_equal(number_column(frame, "y"), [1, np.nan, 35])
    np.testing.assert_array_equal(covariate_column(frame, "y"), [1, np.nan, 35])
    np.testing.assert_array_equal(covariate_column(frame, "open"), [1, np.nan, 0])
    typed = pd.DataFrame({"y": pd.Series([1, mark, 35.0], dtype=object)})
    np.testing.assert_array_equal(covariate_column(typed, "y"), [1, np.nan, 35])


@pytest.mark.parametrize("cell", ["12 kg", "1,5", "0x10", "1_000", "inf", "Jan"])
def test_the_first_cell_that_is_no_number_is_named_by_its_row_and_content(cell):
    body = f't,y\na,1\nb,?\nc,"{cell}"\nd,x\n'.encode()
    frame = read_frame(body, FileFormat.CSV, DataPolicy())
    with pytest.raises(InvalidRequest, match=rf"column 'y', row 3 of the data: '{cell}' is not"):
        number_column(frame, "y")


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))))
def test_numbers_are_read_back_from_their_text(values):
    numbers, wrong = numbers_of(["NA" if value is None else repr(value) for value in values])
    assert wrong is None
    np.testing.assert_array_equal(numbers, np.array(values, dtype=float))


ORIENTS = ["columns", "index", "records", "split", "table"]


@pytest.mark.parametrize("orient", ORIENTS)
def test_json_that_pandas_writes_is_read_in_each_orientation(orient):
    times = {} if orient == "table" else {"date_unit": "ms"}  # numbers, but for a table
    body = FRAME.to_json(orient=orient, **times).encode()
    frame = read_frame(body, FileFormat.JSON, DataPolicy(), frozenset({"day"}))
    local = time_column(frame, "day")
    np.testing.assert_array_equal(local.wall, FRAME["day"].to_numpy().astype("datetime64[s]"))
    np.testing.assert_array_equal(number_column(frame, "y"), FRAME["y"])
    assert text_column(frame, "kind") == FRAME["kind"].tolist()
    assert covariate_column(frame, "open").tolist() == [1, 0, 1, 1]
    with pytest.raises(TooLarge, match="3 are allowed"):
        read_frame(body, FileFormat.JSON, DataPolicy(max_rows=3), frozenset({"day"}))


@pytest.mark.parametrize("orient", ["columns", "index", "split"])
def test_times_that_pandas_has_as_its_index_are_the_column_index(orient):
    body = FRAME.set_index("day")[["y", "n"]].to_json(orient=orient).encode()
    frame = read_frame(body, FileFormat.JSON, DataPolicy(), frozenset({"index", "y"}))
    assert list(frame.columns) == ["y", "n", "index"]
    local = time_column(frame, "index")
    np.testing.assert_array_equal(local.wall, FRAME["day"].to_numpy().astype("datetime64[s]"))
    np.testing.assert_array_equal(number_column(frame, "y"), FRAME["y"])


def test_json_without_names_of_columns_says_how_to_write_it():
    for body in (b"[[1, 2]]", b'{"columns": ["a"], "data": [[1, 2]]}'):
        with pytest.raises(BadData, match="names of columns|a list of 1 values"):
            read_frame(body, FileFormat.JSON, DataPolicy())


def test_a_small_file_that_unpacks_to_more_than_allowed_is_refused():
    body = gzip.compress(b"y\n" + b"1\n" * 100_000)
    with pytest.raises(TooLarge, match="unpack to more than the 1024 bytes"):
        read_frame(body, FileFormat.CSV, DataPolicy(max_decompressed_bytes=1024))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1991, 1992], "1992-01-01T00:00:00"),
        (["1991", "1992"], "1992-01-01T00:00:00"),
        (["2022-01", "2022-02"], "2022-02-01T00:00:00"),
        (["2022Q1", "2022-Q2"], "2022-04-01T00:00:00"),
        ([20260131, 20260228.0], "2026-02-28T00:00:00"),
        ([1767225600, 1767312000], "2026-01-02T00:00:00"),
        ([-662688000000, 0], "1970-01-01T00:00:00"),
        ([1767225600_000_000, 1767312000_000_000], "2026-01-02T00:00:00"),
        ([1767225600_000_000_000, 1767312000_000_000_000], "2026-01-02T00:00:00"),
        ([datetime(2026, 1, 1), date(2026, 1, 2)], "2026-01-02T00:00:00"),
        (["2026-01-01 00:00:00 UTC", "2026-01-02 01:00:00 +01:00"], "2026-01-02T01:00:00"),
        (["2026-01-01T00:00:00.000", "2026-01-02"], "2026-01-02T00:00:00"),
    ],
)
def test_times_are_read_in_the_forms_that_files_have(values, expected):
    local = time_column(pd.DataFrame({"t": pd.Series(values, dtype=object)}), "t")
    assert str(local.wall[1]) == expected
    assert (local.clock is None) == ("UTC" not in str(values[0]))


@pytest.mark.parametrize("values", [[1991, 1], [1.5, 2.5], [12, 13], [10**19, 1], [True, False]])
def test_numbers_that_are_no_times_are_refused(values):
    with pytest.raises(InvalidRequest, match="row 1 of the data"):
        time_column(pd.DataFrame({"t": pd.Series(values, dtype=object)}), "t")


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
        ("sales.CSV.gz", "application/gzip", FileFormat.CSV),
        ("export.php", "application/json", FileFormat.JSON),
    ],
)
def test_the_format_is_told_by_the_name_or_else_the_media_type(name, media_type, expected):
    assert format_of(name, media_type) is expected


@pytest.mark.parametrize("name", ["model.pkl", "archive.zip", "sales", "sales.gz", ""])
def test_another_format_is_unsupported(name):
    with pytest.raises(UnsupportedFormat, match=r"\.csv, \.json, \.xlsx, \.parquet or \.arrow"):
        format_of(name)


BROKEN = [
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,y,y\n2026-01-01,3,4\n", "two columns named 'y'"),
        ("date,y\n2026-01-01,1,234\n2026-01-02,1,235\n", "line 2 of the CSV file has 3 cells"),
        ("date,y\n2026-01-01,3\n\n2026-01-02,4,5\n", "line 4 of the CSV file has 3 cells"),
        ("date;y\n2026-01-01;3;a\n", "quote cells that hold a semicolon"),
    ],
)
def test_no_cell_of_a_csv_is_dropped(text, said):
    """Of numbers such as 1,234 without quotes the thousands were read alone."""
    with pytest.raises(BadData, match=said):
        read_frame(text.encode(), FileFormat.CSV, DataPolicy())


def test_a_quote_that_is_never_closed_is_named():
    text = b'date,y\n2026-01-01,"' + b"1" * 200_000
    with pytest.raises(BadData, match="check its quotes"):
        read_frame(text, FileFormat.CSV, DataPolicy())


def test_separators_at_the_end_of_csv_rows_do_no_harm():
    text = b'date,y\n2026-01-01,"1,5",\n2026-01-02,2,\n2026-01-03\n'
    frame = read_frame(text, FileFormat.CSV, DataPolicy(), frozenset({"y"}))
    assert frame["y"].fillna("").tolist() == ["1,5", "2", ""]


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
