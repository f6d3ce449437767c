"""Named datasets: a file as it was sent, and which column of it is what.

`<folder>/<name>/dataset.json` names the file beside it, whose name holds its checksum. A dataset
is replaced when its `dataset.json` is, at once or not at all.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forecast.core.atomic import locked, move, sync, write_text
from forecast.core.errors import Conflict, NotFound, StoreError, TooLarge
from forecast.core.validation import excerpt
from forecast.data.files import FileFormat, read_frame
from forecast.data.policy import DataPolicy
from forecast.data.tables import TableSchema
from forecast.training.data import (
    SentFile,
    check_dataset_name,
    is_dataset_name,
    series_of_table,
    text_columns,
)

_FORMAT_VERSION = 1
_RECORD, _LOCK = "dataset.json", ".lock"
_DRAFT = ".staged-"
_LEFT_BEHIND_S = 3600.0  # longer than any request takes between writing a draft and placing it
_READS = 10  # of a dataset that is replaced meanwhile


class Dataset(BaseModel):
    """`dataset.json`: what is stored under a name.

    Attributes:
        file: the name of the file beside the record.
        schema_: which column of the file is what.
        rows: of the file.
        items: series in it.
        start, end: times of the first and last step of all series; None where time is not known.
        source_name: the file name the caller gave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    format_version: int = Field(_FORMAT_VERSION, ge=1, le=_FORMAT_VERSION)
    name: str
    file: str
    format: FileFormat
    schema_: TableSchema = Field(alias="schema")
    sha256: str
    size_bytes: int
    rows: int
    items: int
    start: str | None
    end: str | None
    created_at: datetime
    source_name: str

    @property
    def reference(self) -> str:
        """Identify the data, whatever is stored under the same name later."""
        return f"dataset:{self.name}@{self.sha256[:12]}"

    def described(self) -> dict[str, Any]:
        """Describe it to a caller."""
        hidden = {"format_version", "file"}
        return self.model_dump(mode="json", by_alias=True, exclude=hidden)


@dataclass(frozen=True, slots=True)
class StagedDataset:
    """A dataset that is checked and written, but not yet found by its name."""

    dataset: Dataset
    draft: Path

    def discard(self) -> None:
        """Remove the draft, unless it was placed."""
        self.draft.unlink(missing_ok=True)


class Datasets:
    """The datasets of a deployment. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, policy: DataPolicy) -> None:
        """Nothing is read or written yet."""
        self._root = folder
        self._policy = policy

    def put(self, name: str, sent: SentFile, schema: TableSchema) -> tuple[Dataset, bool]:
        """Store a file under a name; also returns whether the name is new. Blocks.

        Raises:
            ForecastError: as `stage` and `placed` do.
        """
        staged = self.stage(name, sent, schema)
        try:
            is_new = not (self._folder(name) / _RECORD).exists()
            with self.placed(staged):
                return staged.dataset, is_new
        finally:
            staged.discard()

    def stage(self, name: str, sent: SentFile, schema: TableSchema) -> "StagedDataset":
        """Check a file and write it to a draft. Blocks.

        Raises:
            InvalidRequest: this is no name, or the schema does not fit the file.
            BadData: the file cannot be read.
            TooLarge: it alone is larger than all datasets may be together.
            StoreError: it cannot be written.
        """
        check_dataset_name(name)
        if len(sent.body) > self._policy.max_datasets_bytes:
            raise TooLarge(f"datasets may have {self._policy.max_datasets_bytes} bytes together")
        dataset = self._described(name, sent, schema)
        with _errors_of_disk():
            return StagedDataset(dataset, self._draft(sent.body))

    @contextmanager
    def placed(self, staged: "StagedDataset") -> Iterator[None]:
        """Give a staged dataset its name; what had the name comes back if the block fails.

        Raises:
            Conflict: there is no room for it.
            StoreError: it cannot be written.
        """
        dataset = staged.dataset
        folder = self._folder(dataset.name)
        record = folder / _RECORD
        with locked(self._root / _LOCK):
            self._check_room([one for one in self.all() if one.name != dataset.name], dataset)
            with _errors_of_disk():
                before = record.read_text() if record.exists() else None
                folder.mkdir(exist_ok=True)
                move(staged.draft, folder / dataset.file)
                write_text(record, dataset.model_dump_json(by_alias=True, indent=2) + "\n")
            try:
                yield
            except BaseException:
                if before is None:
                    record.unlink()
                else:
                    write_text(record, before)
                raise
            finally:
                self._tidy(dataset.name)

    def all(self) -> list[Dataset]:
        """List the datasets by their names; what cannot be read is left out."""
        if not self._root.is_dir():
            return []
        names = sorted(path.name for path in self._root.iterdir() if is_dataset_name(path.name))
        return [found for name in names if (found := self._read_record(name)) is not None]

    def get(self, name: str) -> Dataset:
        """Return a dataset.

        Raises:
            NotFound: there is none of this name.
        """
        found = self._read_record(name) if is_dataset_name(name) else None
        if found is None:
            raise NotFound(
                f"there is no dataset {excerpt(name)}; GET /forecast/v1/datasets lists them"
            )
        return found

    def remove(self, name: str) -> None:
        """Remove a dataset. Models that learned from it stay.

        Raises:
            NotFound: there is none of this name.
            StoreError: it cannot be removed.
        """
        self.get(name)
        try:
            with locked(self._root / _LOCK):
                (self._folder(name) / _RECORD).unlink(missing_ok=True)
                shutil.rmtree(self._folder(name), ignore_errors=True)
        except OSError as error:
            raise StoreError("the dataset cannot be removed") from error

    def frame(
        self, name: str, schema: TableSchema | None = None
    ) -> tuple[pd.DataFrame, TableSchema, Dataset]:
        """Read the table of a dataset. Blocks.

        Args:
            schema: which column is what, in place of what is stored with the dataset.

        Raises:
            NotFound: there is none of this name.
            Conflict: its file is not what was stored.
        """
        dataset, body = self._whole(name)
        roles = schema or dataset.schema_
        frame = read_frame(body, dataset.format, self._policy, text_columns(roles))
        return frame, roles, dataset

    def _folder(self, name: str) -> Path:
        check_dataset_name(name)
        return self._root / name

    def _described(self, name: str, sent: SentFile, schema: TableSchema) -> Dataset:
        frame = read_frame(sent.body, sent.format, self._policy, text_columns(schema))
        series = series_of_table(frame, schema, self._policy).series
        times = [found for one in series if (found := one.past_timestamps) is not None]
        sha256 = hashlib.sha256(sent.body).hexdigest()
        return Dataset(
            name=name,
            file=f"data-{sha256[:16]}.{sent.format.lower()}",
            format=sent.format,
            schema_=schema,
            sha256=sha256,
            size_bytes=len(sent.body),
            rows=len(frame),
            items=len(series),
            start=str(min(one[0] for one in times)) if times else None,
            end=str(max(one[-1] for one in times)) if times else None,
            created_at=datetime.now(UTC),
            source_name="".join(filter(str.isprintable, sent.name))[:256],
        )

    def _check_room(self, others: list[Dataset], new: Dataset) -> None:
        most, most_bytes = self._policy.max_datasets, self._policy.max_datasets_bytes
        if len(others) >= most:
            raise Conflict(f"{len(others)} datasets are kept, all that may be; delete one first")
        used = sum(one.size_bytes for one in others)
        if used + new.size_bytes > most_bytes:
            raise Conflict(
                f"this dataset has {new.size_bytes} bytes and {most_bytes - used} are left for it;"
                " delete another first"
            )

    def _draft(self, body: bytes) -> Path:
        self._root.mkdir(parents=True, exist_ok=True)
        for left_behind in self._root.glob(f"{_DRAFT}*"):
            if left_behind.stat().st_mtime < time.time() - _LEFT_BEHIND_S:
                left_behind.unlink(missing_ok=True)
        handle, name = mkstemp(prefix=_DRAFT, dir=self._root)
        with os.fdopen(handle, "wb") as file:
            file.write(body)
        sync(Path(name))
        return Path(name)

    def _tidy(self, name: str) -> None:
        """Remove what the record of a name does not name."""
        folder = self._folder(name)
        if not (folder / _RECORD).exists():
            shutil.rmtree(folder, ignore_errors=True)
        elif dataset := self._read_record(name):
            for path in folder.iterdir():
                if path.name not in (_RECORD, dataset.file):
                    path.unlink(missing_ok=True)

    def _read_record(self, name: str) -> Dataset | None:
        try:
            text = (self._root / name / _RECORD).read_bytes()
            return Dataset.model_validate_json(text)
        except (OSError, ValidationError):
            return None

    def _whole(self, name: str) -> tuple[Dataset, bytes]:
        """Read a record and its file; both anew where they were replaced in between."""
        for _ in range(_READS):
            dataset = self.get(name)
            body = self._body(dataset)
            if body is not None:
                return dataset, body
            if self.get(name).sha256 == dataset.sha256:
                break
        raise Conflict(f"the file of dataset {name!r} is not what was put there; put it once more")

    def _body(self, dataset: Dataset) -> bytes | None:
        """Read the file; None where it is gone or is not what the record says."""
        try:
            body = (self._folder(dataset.name) / dataset.file).read_bytes()
        except OSError:
            return None
        return body if hashlib.sha256(body).hexdigest() == dataset.sha256 else None


@contextmanager
def _errors_of_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError("the dataset cannot be written; its disk may be full") from error
