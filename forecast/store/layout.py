"""Where the parts of one model's store lie, and the lock that its writers hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forecast.core.atomic import locked, move
from forecast.core.errors import StoreError
from forecast.store.config import StoreConfig

Kind = Literal["version", "snapshot"]

_REPLACED = ".replaced"  # what an overwriting moved aside, until the new one has the name


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one model; those that begin with a dot are of the store alone."""

    config: StoreConfig
    model_id: str

    @property
    def root(self) -> Path:
        return self.config.root / self.model_id

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def drafts(self) -> Path:
        return self.root / ".drafts"

    @property
    def holds(self) -> Path:
        return self.root / ".holds"

    @property
    def trash(self) -> Path:
        return self.root / ".trash"

    @property
    def backups(self) -> Path:
        return self.root / self.config.backups_folder

    @property
    def checkpoints(self) -> Path:
        return self.root / self.config.checkpoints_folder

    def folder(self, kind: Kind) -> Path:
        versions = kind == "version"
        config = self.config
        return self.root / (config.versions_folder if versions else config.snapshots_folder)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of this model's writers, with what a killed one left put right.

        Raises:
            StoreError: the disk does not take what is written; says why.
        """
        with explained(), locked(self.lock):
            self._restore()
            yield

    def find(self, kind: Kind, name: str) -> Path | None:
        """Find the folder that has a name, also if a writer was killed while replacing it."""
        path = self.folder(kind) / name
        if not path.is_dir() and aside(path).is_dir():
            with self.writing():
                pass  # waits for a writer who is at it, or restores what a dead one moved
        return path if path.is_dir() else None

    def names(self, kind: Kind) -> set[str]:
        """Name what is there, valid or not."""
        names = set()
        for entry in _entries(self.folder(kind)):
            name = entry.removeprefix(".").removesuffix(_REPLACED)
            if entry in (name, f".{name}{_REPLACED}"):
                names.add(name)
        return names

    def _restore(self) -> None:
        for kind in ("version", "snapshot"):
            folder = self.folder(kind)
            for name in self.names(kind):
                path = folder / name
                if not aside(path).is_dir():
                    continue
                if path.is_dir():
                    move(aside(path), self.free_backup(name))
                else:
                    move(aside(path), path)

    def free_backup(self, name: str) -> Path:
        """Find the next place for a backup of a name."""
        self.backups.mkdir(parents=True, exist_ok=True)
        numbers = [number for number, _ in self.backups_of(name)]
        return self.backups / f"{name}-{max(numbers, default=0) + 1}"

    def backups_of(self, name: str) -> list[tuple[int, Path]]:
        """List the backups of a name with their numbers, the oldest first."""
        found = [entry.rpartition("-") for entry in _entries(self.backups)]
        numbers = sorted(int(n) for of, _, n in found if of == name and n.isdecimal())
        return [(number, self.backups / f"{name}-{number}") for number in numbers]

    def backed_up(self) -> set[str]:
        """Name what has backups."""
        return {entry.rpartition("-")[0] for entry in _entries(self.backups)} - {""}


def aside(path: Path) -> Path:
    """Name where a folder waits while another takes its place."""
    return path.with_name(f".{path.name}{_REPLACED}")


@contextmanager
def explained() -> Iterator[None]:
    """Turn a failure of the disk into an error that says what it was, without a path."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise StoreError(
            f"the store cannot be written: {reason}; its operator must make room or give rights"
        ) from error


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
