"""Any sequence of changes leaves the store in the state that a simple model says."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forecast.core.errors import VersionNotFound
from tests.examples import examples
from tests.store.shelf_model import ShelfModel
from tests.store.stored import content, publish, shelf_at

ALIASES = st.sampled_from(["current", "champion"])
BACKUPS = 2


class StoreMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self._folder = TemporaryDirectory()
        self.model = ShelfModel(max_versions=2)
        self.holds = {}
        self.published = 0

    def teardown(self):
        for hold in self.holds.values():
            hold.release()
        self._folder.cleanup()

    @property
    def shelf(self):
        """As a process of its own would have it."""
        return shelf_at(
            Path(self._folder.name), version_format="number", max_versions=2, backups=BACKUPS
        )

    def _name(self, data):
        return data.draw(st.sampled_from(sorted(self.model.contents)))

    @rule()
    def publish_another(self):
        name = self.shelf.propose(config_sha256="", data_sha256="")
        assert name not in self.model.contents
        self._publish(name, overwrite=False)

    @precondition(lambda self: self.model.contents)
    @rule(data=st.data())
    def overwrite(self, data):
        self._publish(self._name(data), overwrite=True)

    def _publish(self, name, *, overwrite):
        self.published += 1
        publish(self.shelf, name, str(self.published), overwrite=overwrite)
        self.model.publish(name, str(self.published))

    @precondition(lambda self: self.model.contents)
    @rule(alias=ALIASES, data=st.data())
    def set_alias(self, alias, data):
        name = self._name(data)
        assert self.shelf.aliases.set(alias, name, who="me").version == name
        self.model.set(alias, name)

    @rule(alias=ALIASES)
    def remove_alias(self, alias):
        if alias in self.model.aliases:
            self.shelf.aliases.remove(alias, who="me")
            self.model.set(alias, None)
        else:
            with pytest.raises(VersionNotFound):
                self.shelf.aliases.remove(alias, who="me")

    @rule(alias=ALIASES)
    def roll_back(self, alias):
        target = self.model.rollback_target(alias)
        if target is None:
            with pytest.raises(VersionNotFound):
                self.shelf.aliases.rollback(alias, who="me")
        else:
            assert self.shelf.aliases.rollback(alias, who="me").version == target
            self.model.rollback(alias)

    @precondition(lambda self: self.model.contents)
    @rule(data=st.data())
    def hold(self, data):
        name = self._name(data)
        if name not in self.holds:
            self.holds[name] = self.shelf.hold(self.shelf.get(name))
            self.model.held.add(name)

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data):
        name = data.draw(st.sampled_from(sorted(self.holds)))
        self.holds.pop(name).release()
        self.model.held.remove(name)

    @rule()
    def retain(self):
        expected = self.model.superfluous()
        assert self.shelf.retain() == expected
        self.model.remove(expected)

    @invariant()
    def agrees(self):
        shelf = self.shelf
        versions = shelf.versions()
        assert [(one.name, content(one)) for one in reversed(versions)] == list(
            self.model.contents.items()
        )
        assert shelf.aliases.all() == self.model.aliases
        for alias, name in self.model.aliases.items():
            assert shelf.get(alias).name == name
            assert alias in shelf.get(name).aliases

    @invariant()
    def keeps_backups(self):
        root = Path(self._folder.name, "toy", "backups")
        for name, overwritten in self.model.backups.items():
            numbers = {int(path.name.rpartition("-")[2]): path for path in root.glob(f"{name}-*")}
            kept = [
                (numbers[number] / "weights/model.safetensors").read_text()
                for number in sorted(numbers)
            ]
            assert kept == overwritten[-BACKUPS:]


StoreMachine.TestCase.settings = settings(
    max_examples=examples(50),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_any_sequence_of_changes_leaves_what_the_model_says = StoreMachine.TestCase
