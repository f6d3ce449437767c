"""Names that mean a version and change at once, with who changed them, when and why."""

import json
import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from forecast.core.atomic import write_text
from forecast.core.errors import Conflict, InvalidRequest, VersionDamaged, VersionNotFound
from forecast.core.times import to_utc
from forecast.store.alias_log import AliasChange, AliasLog, How
from forecast.store.layout import Layout
from forecast.store.names import CURRENT, checked_alias

log = logging.getLogger(__name__)

MAX_ALIASES, MAX_WHO, MAX_WHY = 100, 100, 1000


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
        return self._log.meanings()

    def get(self, alias: str) -> str | None:
        """Name the version that an alias means; None where there is no such alias."""
        return self.all().get(alias)

    def set(self, alias: str, version: str, *, who: str, why: str = "") -> AliasChange:
        """Let an alias mean a version; nothing is written where it does already.

        Raises:
            InvalidRequest: this is no name for an alias, or no line that says who or why.
            VersionNotFound, VersionDamaged: the alias would mean nothing good.
            Conflict: there are too many aliases.
            StoreError: the disk does not take it.
        """
        checked_alias(alias)
        reason = _reason(who, why)
        name = self._checked(version)
        with self._layout.writing():
            meanings = self.all()
            if meanings.get(alias) == name:
                self.refresh_views()
                return self.history(alias)[-1]
            if alias not in meanings and len(meanings) >= MAX_ALIASES:
                raise Conflict(f"there are {MAX_ALIASES} aliases already; remove one")
            self._checked(name)  # may have gone since
            return self._write(alias, name, reason, "set")

    def remove(self, alias: str, *, who: str, why: str = "") -> AliasChange:
        """Let an alias mean nothing.

        Raises:
            VersionNotFound: there is no such alias.
        """
        reason = _reason(who, why)
        with self._layout.writing():
            if self.get(alias) is None:
                raise VersionNotFound(f"{self._layout.model_id} has no alias {alias[:80]!r}")
            return self._write(alias, None, reason, "remove")

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
                    f"the alias {alias[:80]!r} of {self._layout.model_id} has no earlier version"
                    " that is still there; set it to one of those there are"
                )
            return self._write(alias, target, reason, "rollback")

    def rollback_target(self, alias: str) -> str | None:
        """Name the version that a rollback would go to; None for none."""
        *earlier, now = self._stack(alias) or [None]
        others = (name for name in reversed(earlier) if name and name != now)
        return next(filter(self._is_good, others), None)

    def history(self, alias: str) -> list[AliasChange]:
        """List the changes of an alias, the oldest first."""
        return list(self._log.histories().get(alias, ()))

    def served_on(self, alias: str, moment: datetime) -> str | None:
        """Name the version that an alias meant at a moment; None for none."""
        before = [change for change in self.history(alias) if change.at <= to_utc(moment)]
        return before[-1].version if before else None

    def protected(self) -> Collection[str]:
        """Name the versions that an alias means, or would mean after a rollback."""
        meanings = self.all()
        targets = {self.rollback_target(alias) for alias in meanings}
        return {*meanings.values(), *(target for target in targets if target)}

    def refresh_views(self) -> None:
        """Bring `aliases.json` and `current` up to date; under the lock of the writers.

        Where the disk does not take them, the next writer brings them.
        """
        meanings = self.all()
        views = {
            "aliases.json": json.dumps(meanings, indent=2) if meanings else None,
            CURRENT: meanings.get(CURRENT),
        }
        try:
            for name, text in views.items():
                _show(self._layout.root / name, text)
        except OSError as error:
            log.warning("%s: aliases cannot be shown: %s", self._layout.model_id, error.strerror)

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
        self, alias: str, version: str | None, reason: tuple[str, str], how: How
    ) -> AliasChange:
        history = self.history(alias)
        now = datetime.now(UTC)
        change = AliasChange(
            at=max(now, history[-1].at) if history else now,  # clocks may go back
            alias=alias,
            version=version,
            previous=history[-1].version if history else None,
            who=reason[0],
            why=reason[1],
            how=how,
        )
        self._log.append(change)
        self.refresh_views()
        return change


def _show(view: Path, text: str | None) -> None:
    try:
        shown: str | None = view.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        shown = None
    if text is None:
        view.unlink(missing_ok=True)
    elif shown != f"{text}\n":
        write_text(view, f"{text}\n")


def _reason(who: str, why: str) -> tuple[str, str]:
    if not 1 <= len(who) <= MAX_WHO or not who.isprintable():
        raise InvalidRequest(f"say who changes the alias, in 1 to {MAX_WHO} printable characters")
    if len(why) > MAX_WHY or not why.isprintable():
        raise InvalidRequest(f"say why in at most {MAX_WHY} printable characters")
    return who, why
