"""Parquet, Arrow IPC and XLSX files → tables, with sizes checked before anything is unpacked.

These formats compress so well that a small file could exhaust any memory. Sizes are bounded by
what the file declares, and the readers do not read past that.
"""

import struct
import zipfile
from io import BytesIO
from typing import Any

import pandas as pd
import pyarrow as pa

from forecast.core.errors import BadData
from forecast.data.policy import DataPolicy

_FILE_MAGIC = b"ARROW1"
_FILE_HEADER = 8  # the magic, padded; an Arrow file is a stream between this and its footer
_BATCH_ROWS = 65_536
_COMPRESSION = 3  # number of the field in RecordBatch, as `buffers` is 2 (Message.fbs)
_BUFFERS = 2
_HEADER = 2
_DICTIONARY_DATA = 1


def read_parquet(body: bytes, policy: DataPolicy) -> pd.DataFrame:
    """Read a Parquet file.

    Raises:
        BadData: a column is of a type that holds no plain values.
        TooLarge: more rows, columns or decompressed bytes than allowed.
    """
    import pyarrow.parquet as pq  # with libraries of its own, which few requests need

    with pq.ParquetFile(BytesIO(body)) as closed:
        schema = closed.schema_arrow
        metadata = closed.metadata
    policy.check_table(metadata.num_rows, len(schema))
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    policy.check_unpacked(unpacked)
    _check_types(schema)
    texts = [field.name for field in schema if _is_text(field.type)]
    with pq.ParquetFile(BytesIO(body), read_dictionary=texts) as file:
        batches, rows, size = [], 0, 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            rows, size = rows + batch.num_rows, size + batch.nbytes
            policy.check_table(rows, batch.num_columns)
            policy.check_unpacked(size)
            batches.append(batch)
    table = pa.Table.from_batches(batches) if batches else schema.empty_table()
    return _frame_of_arrow(table)


def read_arrow(body: bytes, policy: DataPolicy) -> pd.DataFrame:
    """Read Arrow IPC, as a file (Feather 2 too) or a stream.

    Raises:
        BadData: a column is of a type that holds no plain values.
        TooLarge: more rows, columns or decompressed bytes than allowed.
    """
    stream = body[_FILE_HEADER:] if body.startswith(_FILE_MAGIC) else body
    policy.check_unpacked(_unpacked_size(stream))
    batches, rows = [], 0
    with pa.ipc.open_stream(stream) as reader:
        _check_types(reader.schema)
        for batch in reader:
            rows += batch.num_rows
            policy.check_table(rows, batch.num_columns)
            batches.append(batch)
        table = pa.Table.from_batches(batches, schema=reader.schema)
    table.validate(full=True)  # offsets and indices are a stranger's
    return _frame_of_arrow(table)


def _frame_of_arrow(table: pa.Table) -> pd.DataFrame:
    columns = []
    for column in table.columns:
        kind = column.type
        is_decimal = pa.types.is_decimal(kind)
        columns.append(column.cast(pa.float64(), safe=False) if is_decimal else column)
    plain = pa.table(columns, names=table.column_names)
    frame: pd.DataFrame = plain.to_pandas(ignore_metadata=True, date_as_object=False)
    return frame


def _check_types(schema: pa.Schema) -> None:
    for field in schema:
        if _is_period(field):
            raise BadData(
                f"column {field.name!r} holds periods of pandas; send the times at which they"
                f" begin: df[{field.name!r}].dt.to_timestamp()"
            )
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not (
            _is_text(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_timestamp(kind)
            or pa.types.is_date(kind)
            or pa.types.is_null(kind)
        ):
            raise BadData(
                f"column {field.name!r} is of type {field.type}; send numbers, text, booleans and"
                " times only"
            )


def _is_period(field: pa.Field) -> bool:
    """Whether a column holds periods; without pandas' own type for them they look like numbers."""
    named = (field.metadata or {}).get(b"ARROW:extension:name")
    return b"pandas.period" in (named, getattr(field.type, "extension_name", "").encode())


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _unpacked_size(stream: bytes) -> int:
    """Sum what the compressed buffers of an IPC stream declare to unpack to."""
    total = 0
    for message in pa.ipc.MessageReader.open_stream(stream):
        if message.type in {"record batch", "dictionary"}:
            total += _declared(message.metadata.to_pybytes(), message.body, message.type)
    return total


def _declared(metadata: bytes, body: pa.Buffer, kind: str) -> int:
    """Sum the declared sizes of one message, reading its flatbuffer (format/Message.fbs).

    A compressed buffer starts with its unpacked size, little-endian int64; -1 where it is not
    compressed after all.
    """
    batch = _table_in(metadata, _root(metadata), _HEADER)
    if kind == "dictionary":
        batch = _table_in(metadata, batch, _DICTIONARY_DATA)
    if not _field(metadata, batch, _COMPRESSION):
        return int(body.size)
    vector = _field(metadata, batch, _BUFFERS)
    vector += struct.unpack_from("<I", metadata, vector)[0]
    (count,) = struct.unpack_from("<I", metadata, vector)
    contents, total = memoryview(body), 0
    for index in range(count):
        offset, length = struct.unpack_from("<qq", metadata, vector + 4 + 16 * index)
        if length >= 8:
            (declared,) = struct.unpack_from("<q", contents, offset)
            total += length if declared == -1 else max(declared, 0)
    return total


def _root(metadata: bytes) -> int:
    return int(struct.unpack_from("<I", metadata, 0)[0])


def _field(metadata: bytes, table: int, number: int) -> int:
    """Find where a field of a flatbuffer table lies; 0 where it is absent."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    (size,) = struct.unpack_from("<H", metadata, vtable)
    slot = 4 + 2 * number
    if slot >= size:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, vtable + slot)
    return table + offset if offset else 0


def _table_in(metadata: bytes, table: int, number: int) -> int:
    at = _field(metadata, table, number)
    if not at:
        raise BadData("the Arrow file is broken: a message has no content")
    return at + int(struct.unpack_from("<I", metadata, at)[0])


def read_xlsx(body: bytes, policy: DataPolicy) -> pd.DataFrame:
    """Read the first sheet of a workbook; a formula gives the value saved with it.

    Raises:
        BadData: there is no header, or a column has no name.
        TooLarge: more rows, columns or decompressed bytes than allowed.
    """
    from openpyxl import load_workbook  # 30 MB that few requests need

    with zipfile.ZipFile(BytesIO(body)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())  # zipfile reads no more
    policy.check_unpacked(size)
    workbook = load_workbook(BytesIO(body), read_only=True, data_only=True, keep_links=False)
    try:
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # the size that the file declares may be wrong
        columns = _columns(sheet, policy)
    finally:
        workbook.close()
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def _columns(sheet: Any, policy: DataPolicy) -> dict[str, list[Any]]:
    rows = sheet.iter_rows(values_only=True, max_col=policy.max_columns + 1)
    header = _trimmed(next(rows, ()))
    if not header:
        raise BadData("the first row of the XLSX file must hold the names of the columns")
    if any(name is None for name in header):
        raise BadData("a column of the XLSX file has no name; the first row holds the names")
    policy.check_table(0, len(header))
    names = [str(name) for name in header]
    if len(set(names)) < len(names):
        raise BadData("two columns of the XLSX file have the same name")
    columns: list[list[Any]] = [[] for _ in names]
    blank = 0
    for row in rows:
        if all(value is None for value in row):
            blank += 1  # trailing rows that only have a format
        else:
            _append(columns, row, blank)
            blank = 0
        policy.check_table(blank + len(columns[0]), len(columns))
    return dict(zip(names, columns, strict=True))


def _append(columns: list[list[Any]], row: tuple[Any, ...], blank: int) -> None:
    for index, column in enumerate(columns):
        column.extend([None] * blank)
        column.append(row[index] if index < len(row) else None)


def _trimmed(row: tuple[Any, ...]) -> list[Any]:
    values = list(row)
    while values and values[-1] is None:
        values.pop()
    return values
