"""Requests that come while the model is busy become its next call."""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from forecast.core.errors import (
    DeadlinePassed,
    Draining,
    ForecastError,
    QueueFull,
    RemoteUnavailable,
)

log = logging.getLogger(__name__)

_NOBODYS_FAULT = (DeadlinePassed, QueueFull, RemoteUnavailable)  # of what a model asks itself

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")

Run = Callable[[Key, Sequence[Item]], Sequence[Result]]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """The results of one request, in its order, and how they came about.

    Attributes:
        queue_s: from the submission until its first item was taken up.
        predict_s: time in the calls its items were part of.
        batch_size: of the largest of those calls.
    """

    results: list[Result]
    queue_s: float
    predict_s: float
    batch_size: int


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Item, Result]):
    """One request: all of its items, answered together."""

    items: Sequence[Item]
    deadline: float
    future: "Future[Outcome[Result]]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)
    results: dict[int, Result] = field(default_factory=dict)
    queue_s: float = 0.0
    predict_s: float = 0.0
    batch_size: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.future.done()

    def take_up(self, now: float) -> None:
        if self.batch_size == 0:
            self.queue_s = now - self.submitted
            self.batch_size = 1

    def record(self, seconds: float, batch_size: int) -> None:
        self.predict_s += seconds
        self.batch_size = max(self.batch_size, batch_size)

    def succeed(self, index: int, result: Result) -> None:
        self.results[index] = result
        if len(self.results) == len(self.items) and self._claim():
            ordered = [self.results[position] for position in range(len(self.items))]
            self.future.set_result(Outcome(ordered, self.queue_s, self.predict_s, self.batch_size))

    def fail(self, error: BaseException) -> None:
        if self._claim():
            self.future.set_exception(error)

    def _claim(self) -> bool:
        """Win the right to answer against a caller who gives up."""
        try:
            return not self.future.done() and self.future.set_running_or_notify_cancel()
        except InvalidStateError:
            return False


@dataclass(slots=True, eq=False)
class _Share(Generic[Item, Result]):
    """The items of one request that may share a call, as positions in it."""

    ticket: _Ticket[Item, Result]
    waiting: deque[int]


_Taken = tuple[_Ticket[Item, Result], int]


class Batcher(Generic[Key, Item, Result]):
    """One thread that runs a model on whatever waits, in batches of equal keys.

    A lone request starts at once: no timer is on its way. Large requests take turns with the
    others, batch by batch, so nobody starves. An item that fails fails its own request only.
    A request whose caller gave up, or whose deadline passed, costs nothing more.

    Safe to call from any thread.

    Args:
        run: answers the items of one key, in order; called by the batcher's thread only.
        max_batch: the most items of one call.
        max_queue: the most items that may wait; a larger request finds room only in an
            empty queue.
    """

    def __init__(
        self, run: Run[Key, Item, Result], *, max_batch: int, max_queue: int, name: str = "model"
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._shares: OrderedDict[Key, deque[_Share[Item, Result]]] = OrderedDict()
        self._waiting = 0
        self._seconds_per_item = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"{name}-batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that wait for their call."""
        return self._waiting

    def submit(
        self, keys: Sequence[Key], items: Sequence[Item], *, timeout_s: float
    ) -> "Future[Outcome[Result]]":
        """Queue one request; cancel the future to give it up.

        Args:
            keys: one for each item; items of equal keys may share a call.
            timeout_s: from now; a request not taken up by then is dropped.

        Raises:
            QueueFull: too much waits already; says when to come back.
            Draining: `close` was called.
        """
        ticket: _Ticket[Item, Result] = _Ticket(items, time.monotonic() + timeout_s)
        if not items:
            ticket.future.set_result(Outcome([], 0.0, 0.0, 0))
            return ticket.future
        with self._changed:
            self._admit(len(items))
            self._enqueue(ticket, keys)
            self._changed.notify()
        return ticket.future

    def close(self, *, drain_s: float) -> bool:
        """Answer what waits, then stop; what still waits after `drain_s` is refused.

        Returns:
            Whether the thread has ended. If not, a call of the model is under way; `join`
            waits for its end.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(drain_s)
        with self._changed:
            for taken, _ in self._take_everything():
                taken.fail(Draining("the model is being shut down; try again later"))
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait until a closed batcher's thread has ended."""
        self._thread.join()

    def _admit(self, count: int) -> None:
        if self._closed:
            raise Draining("the model is being shut down; try again later")
        if self._waiting and self._waiting + count > self._max_queue:
            raise QueueFull(
                f"{self._waiting} series wait already and the queue holds {self._max_queue};"
                " try again later",
                retry_after_s=max(1.0, self._waiting * self._seconds_per_item),
            )

    def _enqueue(self, ticket: _Ticket[Item, Result], keys: Sequence[Key]) -> None:
        mine: dict[Key, deque[int]] = {}
        for position, key in enumerate(keys):
            mine.setdefault(key, deque()).append(position)
        for key, positions in mine.items():
            self._shares.setdefault(key, deque()).append(_Share(ticket, positions))
        self._waiting += len(keys)

    def _work(self) -> None:
        while batch := self._next_batch():
            self._answer(*batch)

    def _next_batch(self) -> tuple[Key, list[_Taken[Item, Result]]] | None:
        """Wait for a batch; None only once closed and drained."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._shares or self._closed)
                if not self._shares:
                    return None
                key = next(iter(self._shares))
                if taken := self._take(key):
                    return key, taken

    def _take(self, key: Key) -> list[_Taken[Item, Result]]:
        """Take up to a batch of one key, each request in its turn."""
        shares = self._shares[key]
        now = time.monotonic()
        taken: list[_Taken[Item, Result]] = []
        while shares and len(taken) < self._max_batch:
            share = shares.popleft()
            if self._is_dropped(share, now):
                continue
            share.ticket.take_up(now)
            while share.waiting and len(taken) < self._max_batch:
                taken.append((share.ticket, share.waiting.popleft()))
                self._waiting -= 1
            if share.waiting:
                shares.append(share)
        self._shares.move_to_end(key)
        if not shares:
            del self._shares[key]
        return taken

    def _is_dropped(self, share: _Share[Item, Result], now: float) -> bool:
        if share.ticket.deadline < now:
            share.ticket.fail(DeadlinePassed("the request waited longer than its timeout_s"))
        if share.ticket.is_over:
            self._waiting -= len(share.waiting)
            return True
        return False

    def _take_everything(self) -> list[_Taken[Item, Result]]:
        left = [
            (share.ticket, position)
            for shares in self._shares.values()
            for share in shares
            for position in share.waiting
        ]
        self._shares.clear()
        self._waiting = 0
        return left

    def _answer(self, key: Key, taken: Sequence[_Taken[Item, Result]]) -> None:
        started = time.monotonic()
        try:
            results = self._run(key, [ticket.items[position] for ticket, position in taken])
            pairs = list(zip(taken, results, strict=True))
        except BaseException as error:  # noqa: BLE001 -- a silent thread would hang every caller
            self._isolate(key, taken, error)
            return
        self._learn(taken, time.monotonic() - started)
        for (ticket, position), result in pairs:
            ticket.succeed(position, result)

    def _isolate(
        self, key: Key, taken: Sequence[_Taken[Item, Result]], error: BaseException
    ) -> None:
        """Halve a batch that failed until only the guilty items fail, if one is to blame."""
        if len(taken) == 1 or isinstance(error, _NOBODYS_FAULT):
            if not isinstance(error, ForecastError):
                log.error("a forecast failed", exc_info=error)
            for ticket, _ in taken:
                ticket.fail(error)
            return
        middle = len(taken) // 2
        for half in (taken[:middle], taken[middle:]):
            if alive := [entry for entry in half if not entry[0].is_over]:
                self._answer(key, alive)

    def _learn(self, taken: Sequence[_Taken[Item, Result]], seconds: float) -> None:
        for ticket in {id(ticket): ticket for ticket, _ in taken}.values():
            ticket.record(seconds, len(taken))
        share = seconds / len(taken)
        self._seconds_per_item += 0.2 * (share - self._seconds_per_item)
