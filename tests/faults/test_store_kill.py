"""Writers of the store are killed at random moments; they leave the old state or the new."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path

import pytest

from tests.examples import examples
from tests.faults.store_writer import BACKUPS, MAX_VERSIONS, MODEL_ID, shelf_at
from tests.store.shelf_model import ShelfModel

ROOT = Path(__file__).parents[2]
KILLS = examples(200)
OF_EACH = examples(25)  # kinds of change
LONGEST_S = 0.01
KINDS = {"publish", "set", "rollback", "retain"}


@pytest.fixture
def kill(tmp_path):
    """Let a writer work with a seed, and kill it some time after it wrote some lines."""
    command = [sys.executable, "-m", "tests.faults.store_writer"]
    writers = subprocess.Popen(
        [*command, str(tmp_path / "store"), str(tmp_path / "journal")],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def kill(seed, lines, seconds):
        writers.stdin.write(f"{seed} {lines} {seconds}\n")
        writers.stdin.flush()
        assert writers.stdout.readline() == "killed\n"

    with writers:
        yield kill
        writers.stdin.close()


def test_writers_killed_at_random_moments_leave_the_old_state_or_the_new(kill, tmp_path):
    (tmp_path / "journal").touch()
    shelf = shelf_at(tmp_path / "store")
    chance = random.Random(7)
    model = ShelfModel(MAX_VERSIONS)
    killed = Counter()
    with (tmp_path / "journal").open() as journal:
        while killed.total() < KILLS or min(killed[kind] for kind in KINDS) < OF_EACH:
            kill(chance.randrange(2**32), chance.randint(1, 6), chance.uniform(0, LONGEST_S))
            unfinished = replay(model, journal)
            if unfinished:
                killed[unfinished["begin"]] += 1
            model = agreed(shelf_at(tmp_path / "store"), possible(model, unfinished))
            check_that_writers_go_on(shelf, model)
    check_that_nothing_lies_about(shelf, model, tmp_path / "store" / MODEL_ID)


def replay(model, journal):
    """Do what the writer says it did; give what it had begun when it was killed."""
    begun = None
    model.held = set()
    for line in journal:
        event = json.loads(line)
        assert "failed" not in event
        if "held" in event:
            model.held = {event["held"]}
        if "begin" in event:
            begun = event
        if "end" in event:
            if event["end"] == "retain":
                assert event["removed"] == model.superfluous()
            if event["end"] != "nothing":
                do(model, begun)
            begun = None
    return begun


def do(model, event):
    match event["begin"]:
        case "publish":
            model.publish(event["name"], event["content"])
        case "set":
            model.set(event["alias"], event["name"])
        case "rollback" if model.rollback_target(event["alias"]):
            model.rollback(event["alias"])
        case "retain":
            model.remove(model.superfluous())


def possible(model, unfinished):
    """The state before what was not finished, and after it; a removal of several has steps."""
    if unfinished is None:
        return [model]
    if unfinished["begin"] == "retain":
        names = model.superfluous()
        return [without(model, names[:count]) for count in range(len(names) + 1)]
    after = deepcopy(model)
    do(after, unfinished)
    return [model, after]


def without(model, names):
    fewer = deepcopy(model)
    fewer.remove(names)
    return fewer


def agreed(shelf, options):
    """Find the state that the store is in, read as a new process would."""
    contents = {version.name: content(shelf.get(version.name).path) for version in shelf.versions()}
    found = [
        option
        for option in options
        if (option.contents, option.aliases) == (contents, shelf.aliases.all())
    ]
    assert found, (contents, shelf.aliases.all(), [vars(option) for option in options])
    for alias, name in shelf.aliases.all().items():
        assert shelf.get(alias).name == name
    return found[0]


def check_that_writers_go_on(shelf, model):
    """Change something, which puts right what was left; views agree, and no backup is lost."""
    if not model.contents:
        return
    newest = list(model.contents)[-1]
    shelf.aliases.set("newest", newest, who="test")
    model.set("newest", newest)
    root = shelf.get(newest).path.parents[1]
    assert json.loads((root / "aliases.json").read_text()) == model.aliases
    assert (root / "current").exists() == ("current" in model.aliases)
    if "current" in model.aliases:
        assert (root / "current").read_text() == model.aliases["current"] + "\n"
    for name, overwritten in model.backups.items():
        numbers = {
            int(path.name.rpartition("-")[2]): path for path in root.glob(f"backups/{name}-*")
        }
        assert [content(numbers[number]) for number in sorted(numbers)][-BACKUPS:] == overwritten[
            -BACKUPS:
        ]


def check_that_nothing_lies_about(shelf, model, root):
    model.held = set()
    assert shelf.retain() == model.superfluous()
    for folder in (".drafts", ".trash"):
        assert list((root / folder).glob("*")) == []
    names = {path.name for path in (root / "versions").iterdir()}
    assert names == {version.name for version in shelf.versions()}


def content(folder):
    return (folder / "weights/model.safetensors").read_text()
