"""Changes a store without end, in forked processes that are killed after a while.

    store_writer.py <root> <journal>

Each line of the input is a seed, a number of lines and a number of seconds: a process is forked,
works with that seed, and is killed so long after it has written so many lines to the journal,
however slow the machine is; then a line is answered. The journal has a line before and after each
change, so that who reads it knows what was being done.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from forecast.core.errors import VersionNotFound
from forecast.core.state import ModelMetadata
from forecast.store.config import StoreConfig
from forecast.store.versions import ModelShelf, ModelStore

MODEL_ID = "toy"
MAX_VERSIONS = 4
BACKUPS = 3
ALIASES = ("current", "champion", "trial")


def shelf_at(root: Path) -> ModelShelf:
    config = StoreConfig(
        root=root, version_format="number", max_versions=MAX_VERSIONS, backups=BACKUPS
    )
    return ModelStore(config).model(MODEL_ID)


def publish(shelf: ModelShelf, name: str, content: str, *, overwrite: bool = False) -> None:
    with shelf.new_draft() as draft:
        (draft / "weights").mkdir()
        (draft / "config.json").write_text("{}")
        (draft / "weights" / "model.safetensors").write_text(content)
        metadata = ModelMetadata(model_id=MODEL_ID, version=name)
        shelf.publish(draft, metadata, overwrite=overwrite)


class Writer:
    def __init__(self, shelf: ModelShelf, journal: int, seed: int) -> None:
        self._shelf, self._journal, self._random = shelf, journal, random.Random(seed)

    def work(self) -> None:
        names = [version.name for version in self._shelf.versions()]
        if names:
            held = self._random.choice(names)
            self._shelf.hold(self._shelf.get(held))
            self._note(held=held)
        while True:
            self._random.choice(
                [self._publish, self._overwrite, self._set, self._back, self._retain]
            )()

    def _publish(self) -> None:
        name = self._shelf.propose(config_sha256="", data_sha256="")
        content = f"{self._random.random()}"
        self._note(begin="publish", name=name, content=content)
        publish(self._shelf, name, content)
        self._note(end="publish")

    def _overwrite(self) -> None:
        versions = self._shelf.versions()
        if versions:
            name, content = self._random.choice(versions).name, f"{self._random.random()}"
            self._note(begin="publish", name=name, content=content)
            publish(self._shelf, name, content, overwrite=True)
            self._note(end="publish")

    def _set(self) -> None:
        versions = self._shelf.versions()
        if versions:
            alias, name = self._random.choice(ALIASES), self._random.choice(versions).name
            self._note(begin="set", alias=alias, name=name)
            self._shelf.aliases.set(alias, name, who="writer", why="for the test")
            self._note(end="set")

    def _back(self) -> None:
        alias = self._random.choice(ALIASES)
        self._note(begin="rollback", alias=alias)
        try:
            self._shelf.aliases.rollback(alias, who="writer", why="for the test")
        except VersionNotFound:
            self._note(end="nothing")
        else:
            self._note(end="rollback")

    def _retain(self) -> None:
        self._note(begin="retain")
        removed = self._shelf.retain()
        self._note(end="retain", removed=removed)

    def _note(self, **event: object) -> None:
        os.write(self._journal, json.dumps(event).encode() + b"\n")


def main(root: Path, journal: Path) -> None:
    shelf = shelf_at(root)
    file = os.open(journal, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    for line in sys.stdin:
        seed, lines, seconds = line.split()
        size = os.fstat(file).st_size
        child = os.fork()
        if child == 0:
            try:
                Writer(shelf, file, int(seed)).work()
            except BaseException as error:
                os.write(file, json.dumps({"failed": repr(error)}).encode() + b"\n")
                raise
            finally:
                os._exit(1)
        while os.pread(file, 1 << 20, size).count(b"\n") < int(lines):
            time.sleep(0.001)
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sys.stdout.write("killed\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
