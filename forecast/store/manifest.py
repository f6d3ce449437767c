"""The manifest of a version: whose it is, and the SHA-256 and size of each file. Written last."""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from forecast.core.atomic import sync_all, write_text
from forecast.core.errors import InvalidRequest, VersionDamaged
from forecast.core.state import FORMAT_VERSION, MIGRATIONS, Migration, ModelMetadata, migrated
from forecast.store.checkpoint import file_digest

MANIFEST = "manifest.json"
_MAX_BYTES = 64 << 20


class FileEntry(BaseModel):
    """One file of a version; `size` is in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Manifest(BaseModel):
    """What a version is, and what it consists of.

    Attributes:
        files: path below the version's folder, with `/`, → what it holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    metadata: ModelMetadata
    files: dict[str, FileEntry]

    @property
    def weights_sha256(self) -> str:
        """Hash the weights, as `checkpoint.digest` does with the files themselves."""
        paths = sorted(PurePosixPath(name) for name in self.files if name.endswith(".safetensors"))
        weights = [(self.files[path.as_posix()].sha256, path.as_posix()) for path in paths]
        if len(weights) == 1:
            return weights[0][0]
        lines = "".join(f"{sha256}  {name}\n" for sha256, name in weights)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(entry.size for entry in self.files.values())


def write_manifest(folder: Path, metadata: ModelMetadata) -> Manifest:
    """Wait until what a folder holds is on the disk, hash it and write that down.

    Raises:
        InvalidRequest: it is empty, or holds something that is no file.
    """
    names = _names_below(folder)
    if not names:
        raise InvalidRequest("a version needs files; this one has none")
    sync_all(folder)
    files = {
        name: FileEntry(sha256=file_digest(folder / name), size=(folder / name).stat().st_size)
        for name in names
    }
    manifest = Manifest(metadata=metadata, files=files)
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def load_manifest(folder: Path, migrations: Sequence[Migration] = MIGRATIONS) -> Manifest:
    """Read the manifest of a folder, of this format or an older one.

    Raises:
        VersionDamaged: it is missing, damaged, or of a later format; says which.
    """
    try:
        return _read(folder / MANIFEST, migrations)
    except OSError as error:
        raise VersionDamaged(f"{folder.name} has no {MANIFEST} that can be read") from error
    except ValidationError as error:
        raise VersionDamaged(f"{MANIFEST} of {folder.name} is damaged") from error
    except ValueError as error:
        raise VersionDamaged(f"{MANIFEST} of {folder.name}: {error}") from error


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a folder; None where there is none that this program can read."""
    try:
        return load_manifest(folder)
    except VersionDamaged:
        return None


def is_of_later_format(folder: Path) -> bool:
    """Whether a later program wrote a folder, so that this one cannot judge it."""
    try:
        document: Any = from_json((folder / MANIFEST).read_bytes())
        return bool(document["format_version"] > FORMAT_VERSION)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def verify(folder: Path, *, contents: bool = True) -> Manifest:
    """Compare a folder with its manifest.

    Args:
        contents: compare checksums too, not only names and sizes.

    Raises:
        VersionDamaged: a file is missing, changed, or not of the version; names it.
    """
    manifest = load_manifest(folder)
    names = _names_found(folder)
    for name in sorted(names ^ manifest.files.keys()):
        state = "was added" if name in names else "is missing"
        raise VersionDamaged(f"{folder.name} is damaged: {name} {state}")
    for name, entry in manifest.files.items():
        if not _is_as_written(folder / name, entry, contents=contents):
            raise VersionDamaged(f"{folder.name} is damaged: {name} is not what was written")
    return manifest


def _is_as_written(file: Path, entry: FileEntry, *, contents: bool) -> bool:
    try:
        state = file.stat()
        if state.st_size != entry.size:
            return False
        return not contents or file_digest(file) == entry.sha256
    except OSError:
        return False


def _names_found(folder: Path) -> set[str]:
    try:
        return set(_names_below(folder))
    except InvalidRequest as error:
        raise VersionDamaged(f"{folder.name} is damaged: {error}") from error
    except OSError as error:
        raise VersionDamaged(f"{folder.name} cannot be read: {error.strerror}") from error


def _names_below(folder: Path) -> list[str]:
    """Name every file but the manifest.

    Raises:
        InvalidRequest: something is a link, a pipe or the like.
    """
    names = []
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            name = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise InvalidRequest(f"{name} is neither a file nor a folder")
            if stat.S_ISREG(mode) and name != MANIFEST:
                names.append(name)
    return sorted(names)


def _read(file: Path, migrations: Sequence[Migration]) -> Manifest:
    with file.open("rb") as opened:
        text = opened.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES} bytes")
    document: Any = from_json(text)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 -- of a document
    return Manifest.model_validate(migrated(document, migrations))
