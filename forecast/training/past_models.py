"""Which stored model knows nothing of a year: found here, fetched, or an earlier one."""

import logging
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

from forecast.core.errors import ForecastError
from forecast.store.names import snapshot_name
from forecast.store.versions import ModelStore, Version

log = logging.getLogger(__name__)

How = Literal["snapshot", "remote", "earlier"]


class Fetches(Protocol):
    """Brings versions from elsewhere into the store; a `StoreSync` does."""

    def ensure_available(self, model_id: str, name: str) -> Version | None:
        """Find a version here, or bring it here; None where nobody has it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The model for a year.

    Attributes:
        version: None where there is none that may be used.
        how: whether it is the snapshot asked for, in the store or just fetched, or an earlier one.
        warnings: why a better one was not taken.
    """

    version: Version | None = None
    how: How | None = None
    warnings: tuple[str, ...] = ()


def model_for_year(
    model_id: str, year: int, store: ModelStore, sync: Fetches | None = None
) -> Choice:
    """Choose the snapshot of 31 December of the year before: local, remote, closest earlier."""
    day = date(year - 1, 12, 31)
    shelf = store.model(model_id)
    warnings: list[str] = []
    if here := shelf.snapshot(day):
        return Choice(here, "snapshot")
    if fetched := _fetched(model_id, day, sync, warnings):
        return Choice(fetched, "remote", tuple(warnings))
    if earlier := shelf.closest_snapshot(day):
        text = f"there is no {snapshot_name(day)}; {earlier.name} is used for {year}"
        return Choice(earlier, "earlier", (*warnings, text))
    return Choice(warnings=tuple(warnings))


def _fetched(model_id: str, day: date, sync: Fetches | None, warnings: list[str]) -> Version | None:
    if sync is None:
        return None
    try:
        return sync.ensure_available(model_id, snapshot_name(day))
    except ForecastError as error:
        log.warning("%s of %s was not fetched: %s", snapshot_name(day), model_id, error)
        warnings.append(f"{snapshot_name(day)} was not fetched: {error.detail}")
        return None
