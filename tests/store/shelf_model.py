"""A store as simple as it can be: what the real one must agree with."""

from collections.abc import Iterable


class ShelfModel:
    """One model's versions, in memory.

    Attributes:
        contents: name → what was published last under it; the oldest first.
        backups: name → what was overwritten, the oldest first.
        stacks: alias → what it meant, with rollbacks taken back; None where it was removed.
        held: names that are in use.
    """

    def __init__(self, max_versions: int) -> None:
        self.max_versions = max_versions
        self.contents: dict[str, str] = {}
        self.backups: dict[str, list[str]] = {}
        self.stacks: dict[str, list[str | None]] = {}
        self.held: set[str] = set()

    @property
    def aliases(self) -> dict[str, str]:
        return {alias: stack[-1] for alias, stack in sorted(self.stacks.items()) if stack[-1]}

    def publish(self, name: str, content: str) -> None:
        if name in self.contents:
            self.backups.setdefault(name, []).append(self.contents.pop(name))
        self.contents[name] = content

    def set(self, alias: str, version: str | None) -> None:
        stack = self.stacks.setdefault(alias, [])
        if stack[-1:] != [version]:
            stack.append(version)

    def rollback_target(self, alias: str) -> str | None:
        *earlier, now = self.stacks.get(alias) or [None]
        there = (name for name in reversed(earlier) if name in self.contents and name != now)
        return next(there, None)

    def rollback(self, alias: str) -> None:
        stack, target = self.stacks[alias], self.rollback_target(alias)
        stack.pop()
        while stack[-1] != target:
            stack.pop()

    def superfluous(self) -> list[str]:
        targets = {self.rollback_target(alias) for alias in self.aliases}
        kept = {*self.aliases.values(), *targets, *self.held}
        return [name for name in list(self.contents)[: -self.max_versions] if name not in kept]

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            del self.contents[name]
            self.backups.pop(name, None)
