"""Versions loaded beside the active one, for requests that name one or a date."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from forecast.core.errors import Draining
from forecast.serving.limits import ServingLimits
from forecast.serving.loaded import LoadedModel
from forecast.store.versions import Version

log = logging.getLogger(__name__)

_Key = tuple[str, str]  # a name, and the checksum of what it means: a version can be overwritten


@dataclass(slots=True, eq=False)
class _Entry:
    """A version that is loaded, or is to be.

    Attributes:
        users: leases that are not over; with none it may make room.
        is_resident: it takes memory, or is about to.
        is_retired: nobody finds it any more; unloaded with its last lease.
    """

    version: Version
    future: "Future[LoadedModel]" = field(default_factory=Future)
    users: int = 0
    is_resident: bool = False
    is_retired: bool = False

    @property
    def key(self) -> _Key:
        return _key(self.version)


def _key(version: Version) -> _Key:
    return version.name, version.sha256


class Lease:
    """The right to use a version: it is not unloaded before `release`."""

    def __init__(self, entry: _Entry, give_back: Callable[[_Entry], None]) -> None:
        self._entry = entry
        self._give_back: Callable[[_Entry], None] | None = give_back
        self._lock = threading.Lock()

    @property
    def ready(self) -> "Future[LoadedModel]":
        """Holds the loaded model, or why it could not be loaded; shared, never cancelled."""
        return self._entry.future

    def release(self) -> None:
        """Let go; twice is fine. Safe to call from any thread."""
        with self._lock:
            give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back(self._entry)


class LoadedVersions:
    """An LRU of loaded versions, bounded in number and bytes.

    One thread loads and unloads; whoever waits for one version holds nobody up who uses
    another. A version that someone uses is never unloaded: where all are in use, the next
    waits for the first that is free.

    Safe to call from any thread.

    Args:
        load: called by that thread only.
    """

    def __init__(self, load: Callable[[Version], LoadedModel], limits: ServingLimits) -> None:
        self._load = load
        self._limits = limits
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()  # least recently used first
        self._resident: set[_Entry] = set()
        self._changed = threading.Condition()
        self._is_open = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="versions")

    @property
    def names(self) -> list[str]:
        """Name what is loaded, the least recently used first."""
        with self._changed:
            return [name for (name, _), one in self._entries.items() if one.is_resident]

    def open(self) -> None:
        """Lend from now on."""
        with self._changed:
            self._is_open = True

    def lease(self, version: Version) -> Lease:
        """Borrow a version; it is loaded in the background unless it is already.

        Raises:
            Draining: `close` was called.
        """
        with self._changed:
            if not self._is_open:
                raise Draining("the model is being shut down; try again later")
            entry = self._entries.get(_key(version))
            if entry is None:
                entry = self._entries[_key(version)] = _Entry(version)
                entry.future.set_running_or_notify_cancel()  # so that no waiter can cancel it
                self._thread.submit(self._fill, entry)
            self._entries.move_to_end(entry.key)
            entry.users += 1
        return Lease(entry, self._give_back)

    def clear(self) -> None:
        """Forget what is loaded; what is in use answers first."""
        with self._changed:
            for entry in [one for one in self._entries.values() if one.is_resident]:
                self._retire(entry)

    def close(self) -> None:
        """Answer what waits, unload everything, and lend nothing until `open`."""
        with self._changed:
            self._is_open = False
            for entry in list(self._entries.values()):
                self._retire(entry)
            self._changed.notify_all()
        self._thread.submit(self._unload_all).result()

    def _fill(self, entry: _Entry) -> None:
        """Make room, load, and tell those who wait."""
        if not self._make_room(entry):
            entry.future.set_exception(Draining("nobody waits for this version any more"))
            return
        try:
            loaded = self._load(entry.version)
        except BaseException as error:  # noqa: BLE001 -- whoever waits is told
            with self._changed:
                self._resident.discard(entry)
                self._forget(entry)
            entry.future.set_exception(error)
            return
        entry.future.set_result(loaded)
        with self._changed:
            is_unwanted = entry.is_retired and not entry.users
        if is_unwanted:
            self._unload(entry)

    def _make_room(self, entry: _Entry) -> bool:
        """Unload idle versions until one more fits; False once nobody wants it."""
        while True:
            with self._changed:
                if not entry.users or entry.is_retired:
                    self._forget(entry)
                    return False
                if self._fits(entry):
                    entry.is_resident = True
                    self._resident.add(entry)
                    return True
                idle = next((one for one in self._entries.values() if _is_idle(one)), None)
                if idle is None:
                    self._changed.wait()
                    continue
                self._forget(idle)
            self._unload(idle)

    def _fits(self, entry: _Entry) -> bool:
        size = sum(one.version.size_bytes for one in self._resident) + entry.version.size_bytes
        return not self._resident or (
            len(self._resident) < self._limits.versions_loaded
            and size <= self._limits.versions_bytes
        )

    def _forget(self, entry: _Entry) -> None:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]

    def _retire(self, entry: _Entry) -> None:
        entry.is_retired = True
        self._forget(entry)
        if _is_idle(entry):
            self._thread.submit(self._unload, entry)

    def _give_back(self, entry: _Entry) -> None:
        with self._changed:
            entry.users -= 1
            if entry.is_retired and _is_idle(entry):
                self._thread.submit(self._unload, entry)
            self._changed.notify_all()

    def _unload(self, entry: _Entry) -> None:
        with self._changed:
            if entry not in self._resident:
                return
        try:
            entry.future.result().close(self._limits.shutdown_s)
        except Exception:
            log.exception("a version could not be unloaded in order")
        finally:
            with self._changed:
                self._resident.discard(entry)
                entry.is_resident = False
                self._changed.notify_all()

    def _unload_all(self) -> None:
        for entry in list(self._resident):
            self._unload(entry)


def _is_idle(entry: _Entry) -> bool:
    return entry.is_resident and not entry.users and entry.future.done()
