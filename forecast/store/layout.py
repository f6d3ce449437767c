"""Where the parts of one model's store lie, and the lock that its writers hold."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forecast.core.atomic import locked, move
from forecast.core.errors import StoreError
from forecast.store.config import StoreConfig
from forecast.store.names import parsed

Kind = Literal["version", "snapshot"]

_KINDS: tuple[Kind, ...] = ("version", "snapshot")
_DECIMAL = re.compile(r"[1-9][0-9]{0,8}")
_LOOKS = 4  # a folder can be on its way whenever one looks, but hardly so often
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
        for _ in range(_LOOKS):
            if path.is_dir():
                return path
            if _aside(path).is_dir():
                with self.writing():  # waits for a writer who is at it; restores what one left
                    if path.is_dir():
                        return path
        return None

    def names(self, kind: Kind) -> set[str]:
        """Name what is there, valid or not.

        Looks twice: one look may miss what is renamed meanwhile.
        """
        there = {*entries(self.folder(kind)), *entries(self.folder(kind))}
        found = (parsed(_whole_name(entry)) for entry in there)
        return {known[1] for known in found if known and known[0] == kind}

    def place(self, draft: Path, target: Path) -> None:
        """Give a draft a name; what had it becomes a backup.

        At each moment the old one or the new one has the name, or the old one waits beside it,
        where `find` and the next writer look.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            move(target, _aside(target))
            move(draft, target)
            move(_aside(target), self._free_backup(target.name))
        else:
            move(draft, target)

    def backups_of(self, name: str) -> list[tuple[int, Path]]:
        """List the backups of a name with their numbers, the oldest first."""
        found = [entry.rpartition("-") for entry in entries(self.backups)]
        numbers = sorted(int(n) for of, _, n in found if of == name and _DECIMAL.fullmatch(n))
        return [(number, self.backups / f"{name}-{number}") for number in numbers]

    def backed_up(self) -> set[str]:
        """Name what has backups."""
        return {entry.rpartition("-")[0] for entry in entries(self.backups)} - {""}

    def _restore(self) -> None:
        """Finish what a killed writer began: see `place`."""
        for kind in _KINDS:
            for old in [entry for entry in entries(self.folder(kind)) if _is_aside(entry)]:
                path = self.folder(kind) / _whole_name(old)
                taken = path.exists()
                move(_aside(path), self._free_backup(path.name) if taken else path)

    def _free_backup(self, name: str) -> Path:
        self.backups.mkdir(parents=True, exist_ok=True)
        numbers = [number for number, _ in self.backups_of(name)]
        return self.backups / f"{name}-{max(numbers, default=0) + 1}"


def entries(folder: Path) -> list[str]:
    """List what is in a folder; nothing is in one that is not there."""
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []


def _aside(path: Path) -> Path:
    """Name where a folder waits while another takes its place."""
    return path.with_name(f".{path.name}{_REPLACED}")


def _is_aside(entry: str) -> bool:
    return entry.startswith(".") and entry.endswith(_REPLACED)


def _whole_name(entry: str) -> str:
    """Name what a folder is, also while it waits aside."""
    return entry[1:].removesuffix(_REPLACED) if _is_aside(entry) else entry


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
