"""XLSX → columns: the first sheet, its first row the names."""

import zipfile
from io import BytesIO
from typing import Any

from forecast.core.errors import BadData, TooLarge
from forecast.data.policy import DataPolicy


def read_workbook(body: bytes, policy: DataPolicy) -> dict[str, list[Any]]:
    """Read the first sheet; formulas give the values that were saved with them.

    Raises:
        BadData: no header, or a column without a name.
        TooLarge: it unpacks to more than allowed.
    """
    from openpyxl import load_workbook  # 30 MB that few requests need

    with zipfile.ZipFile(BytesIO(body)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())  # zipfile reads no more
    if size > policy.max_decompressed_bytes:
        raise TooLarge(
            f"the XLSX file unpacks to {size} bytes;"
            f" at most {policy.max_decompressed_bytes} are allowed"
        )
    workbook = load_workbook(BytesIO(body), read_only=True, data_only=True, keep_links=False)
    try:
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # what the file claims of its size is not believed
        return _columns(sheet, policy)
    finally:
        workbook.close()


def _columns(sheet: Any, policy: DataPolicy) -> dict[str, list[Any]]:
    rows = sheet.iter_rows(values_only=True, max_col=policy.max_columns + 1)
    header = _trimmed(next(rows, ()))
    if not header:
        raise BadData("the first row of the XLSX file must hold the names of the columns")
    if any(name is None for name in header):
        raise BadData("a column of the XLSX file has no name; the first row holds the names")
    if len(header) > policy.max_columns:
        raise TooLarge(f"the XLSX file has more than the {policy.max_columns} columns allowed")
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
        if blank + len(columns[0]) > policy.max_rows:
            raise TooLarge(f"the XLSX file has more than the {policy.max_rows} rows allowed")
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
