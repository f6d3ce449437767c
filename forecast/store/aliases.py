"""Names that mean a version and change at once, with who changed them, when and why."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from forecast.core.atomic import write_text
from forecast.core.errors import InvalidRequest, VersionDamaged, VersionNotFound
from forecast.core.state import in_utc
from forecast.store.alias_log import AliasChange, AliasLog
from forecast.store.layout import Layout
from forecast.store.names import CURRENT, checked_alias

MAX_WHO, MAX_WHY = 100, 1000


class Aliases:
    """The aliases of one model; `current` is one of them. Safe to use from several processes.

    The log is the truth. `aliases.json` and the file `current` are views for people and other
    programs, written after it.
    """

    def __init__(self, layout: Layout, checked: Callable[[str], str]) -> None:
        """Make a view; nothing is read yet.

        Args:
            checked: gives the full name of a version that is there and good; raises otherwise.
        """
        self._layout = layout
        self._checked = checked
        self._log = AliasLog(layout.root / "aliases.log")

    def all(self) -> dict[str, str]:
        """Map each alias to its version."""
        meaning = {change.alias: change.version for change in self._log.changes()}
        return {alias: version for alias, version in sorted(meaning.items()) if version}

    def get(self, alias: str) -> str | None:
        """Name the version that an alias means; None where there is no such alias."""
        return self.all().get(alias)

    def set(self, alias: str, version: str, *, who: str, why: str = "") -> AliasChange:
        """Let an alias mean a version; nothing is written where it does already.

        Raises:
            InvalidRequest: this is no name for an alias, or no line that says who or why.
            VersionNotFound, VersionDamaged: the alias would mean nothing good.
            StoreError: the disk does not take it.
        """
        checked_alias(alias)
        name = self._checked(version)
        with self._layout.writing():
            previous = self.get(alias)
            if previous == name:
                return self.history(alias)[-1]
            self._checked(name)  # may have gone since
            return self._write(alias, name, _reason(who, why), "set")

    def remove(self, alias: str, *, who: str, why: str = "") -> AliasChange:
        """Let an alias mean nothing.

        Raises:
            VersionNotFound: there is no such alias.
        """
        with self._layout.writing():
            if self.get(alias) is None:
                raise VersionNotFound(f"{self._layout.model_id} has no alias {alias!r}")
            return self._write(alias, None, _reason(who, why), "remove")

    def rollback(self, alias: str, *, who: str, why: str = "") -> AliasChange:
        """Let an alias mean what it meant before; again, what it meant before that.

        Versions that are gone or damaged are passed over.

        Raises:
            VersionNotFound: there is nothing to go back to.
        """
        reason = _reason(who, why)
        with self._layout.writing():
            target = self.rollback_target(alias)
            if target is None:
                raise VersionNotFound(
                    f"the alias {alias!r} of {self._layout.model_id} has no earlier version that"
                    " is still there; set it to one of those there are"
                )
            return self._write(alias, target, reason, "rollback")

    def rollback_target(self, alias: str) -> str | None:
        """Name the version that a rollback would go to; None for none."""
        stack = self._stack(alias)
        return next((name for name in reversed(stack[:-1]) if name and self._is_good(name)), None)

    def history(self, alias: str) -> list[AliasChange]:
        """List the changes of an alias, the oldest first."""
        return [change for change in self._log.changes() if change.alias == alias]

    def served_on(self, alias: str, moment: datetime) -> str | None:
        """Name the version that an alias meant at a moment; None for none."""
        before = [change for change in self.history(alias) if change.at <= in_utc(moment)]
        return before[-1].version if before else None

    def refresh_views(self) -> None:
        """Write `aliases.json` and `current` anew; under the lock of the writers."""
        aliases = self.all()
        root = self._layout.root
        write_text(root / "aliases.json", json.dumps(aliases, indent=2) + "\n")
        if CURRENT in aliases:
            write_text(root / CURRENT, aliases[CURRENT] + "\n")
        else:
            (root / CURRENT).unlink(missing_ok=True)

    def _stack(self, alias: str) -> list[str | None]:
        """What the alias meant, with every rollback taken back."""
        stack: list[str | None] = []
        for change in self.history(alias):
            if change.how == "rollback":
                while stack and stack[-1] != change.version:
                    stack.pop()
            if not stack or stack[-1] != change.version:
                stack.append(change.version)
        return stack

    def _is_good(self, name: str) -> bool:
        try:
            return self._checked(name) == name
        except (VersionNotFound, VersionDamaged):
            return False

    def _write(
        self, alias: str, version: str | None, reason: tuple[str, str], how: str
    ) -> AliasChange:
        changes = self._log.changes()
        now = datetime.now(UTC)
        change = AliasChange.model_validate(
            {
                "at": max(now, changes[-1].at) if changes else now,  # clocks may go back
                "alias": alias,
                "version": version,
                "previous": self.get(alias),
                "who": reason[0],
                "why": reason[1],
                "how": how,
            }
        )
        self._log.append(change)
        self.refresh_views()
        return change


def _reason(who: str, why: str) -> tuple[str, str]:
    if not 1 <= len(who) <= MAX_WHO or not who.isprintable():
        raise InvalidRequest(f"say who changes the alias, in 1 to {MAX_WHO} printable characters")
    if len(why) > MAX_WHY or not why.isprintable():
        raise InvalidRequest(f"say why in at most {MAX_WHY} printable characters")
    return who, why
