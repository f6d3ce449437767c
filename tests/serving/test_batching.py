"""One test for each promise of the batcher, on real threads behind gates."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.core.errors import DeadlinePassed, Draining, QueueFull, RemoteUnavailable
from forecast.serving.batching import Batcher
from tests.examples import examples

PATIENCE_S = 60.0


class Doubling:
    """Doubles numbers while its gate is open, and remembers what it was called with."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.calls: list[tuple[str, list[int]]] = []

    def __call__(self, key: str, items: Sequence[int]) -> list[int]:
        self.entered.release()
        assert self.gate.wait(PATIENCE_S)
        self.calls.append((key, list(items)))
        if any(item < 0 for item in items):
            raise ValueError(f"negative: {min(items)}")
        return [2 * item for item in items]


@pytest.fixture
def run() -> Doubling:
    return Doubling()


@pytest.fixture
def batcher(run: Doubling) -> Iterator[Batcher[str, int, int]]:
    made: Batcher[str, int, int] = Batcher(run, max_batch=4, max_queue=20)
    yield made
    run.gate.set()
    made.close(drain_s=PATIENCE_S)


def submit(batcher, *items, key="k", timeout_s=PATIENCE_S):
    return batcher.submit([key] * len(items), items, timeout_s=timeout_s)


def block(batcher, run):
    """Keep the model busy until the gate opens."""
    run.gate.clear()
    future = submit(batcher, 0, key="blocker")
    assert run.entered.acquire(timeout=PATIENCE_S)
    return future


def test_a_lone_request_is_answered_without_company(batcher, run):
    assert submit(batcher, 7).result(PATIENCE_S).results == [14]
    assert run.calls == [("k", [7])]


def test_what_waits_while_the_model_is_busy_shares_the_next_call(batcher, run):
    block(batcher, run)
    futures = [submit(batcher, item) for item in (1, 2, 3)]
    run.gate.set()
    assert [future.result(PATIENCE_S).results for future in futures] == [[2], [4], [6]]
    assert run.calls[1:] == [("k", [1, 2, 3])]
    assert futures[0].result().batch_size == 3


def test_items_of_different_keys_never_share_a_call(batcher, run):
    block(batcher, run)
    futures = [submit(batcher, item, key=key) for item, key in ((1, "a"), (2, "b"), (3, "a"))]
    run.gate.set()
    for future in futures:
        future.result(PATIENCE_S)
    assert run.calls[1:] == [("a", [1, 3]), ("b", [2])]


def test_one_request_may_hold_items_of_several_keys(batcher):
    future = batcher.submit(["a", "b", "a"], [1, 2, 3], timeout_s=PATIENCE_S)
    assert future.result(PATIENCE_S).results == [2, 4, 6]


def test_a_large_request_takes_turns_with_small_ones(batcher, run):
    block(batcher, run)
    large = submit(batcher, *range(10, 20))
    small = submit(batcher, 1)
    run.gate.set()
    large.result(PATIENCE_S)
    small.result(PATIENCE_S)
    batches = [items for _, items in run.calls[1:]]
    assert batches[0] == [10, 11, 12, 13]
    assert batches[1][0] == 1


@pytest.mark.parametrize("quitter", [0, 1, 2])
def test_a_caller_who_gives_up_disturbs_nobody(batcher, run, quitter):
    blocker = block(batcher, run)
    futures = [submit(batcher, item) for item in (1, 2, 3)]
    assert futures[quitter].cancel()
    run.gate.set()
    assert blocker.result(PATIENCE_S).results == [0]
    for index, future in enumerate(futures):
        if index != quitter:
            assert future.result(PATIENCE_S).results == [2 * (index + 1)]
    assert quitter + 1 not in run.calls[1][1], "an abandoned request must cost nothing"


def test_a_caller_may_give_up_while_the_model_works_on_it(batcher, run):
    run.gate.clear()
    future = submit(batcher, 1)
    assert run.entered.acquire(timeout=PATIENCE_S)
    assert future.cancel()
    run.gate.set()
    assert submit(batcher, 2).result(PATIENCE_S).results == [4]
    with pytest.raises(CancelledError):
        future.result(PATIENCE_S)


@pytest.mark.parametrize("guilty", [0, 1, 2, 3])
def test_a_bad_item_fails_alone(batcher, run, guilty):
    block(batcher, run)
    items = [-9 if index == guilty else index for index in range(4)]
    futures = [submit(batcher, item) for item in items]
    run.gate.set()
    for index, future in enumerate(futures):
        if index == guilty:
            with pytest.raises(ValueError, match="-9"):
                future.result(PATIENCE_S)
        else:
            assert future.result(PATIENCE_S).results == [2 * index]
    assert submit(batcher, 5).result(PATIENCE_S).results == [10], "the thread must live on"


def test_a_run_that_answers_too_little_fails_those_it_left_out():
    batcher: Batcher[str, int, int] = Batcher(lambda _, __: [], max_batch=4, max_queue=8)
    with pytest.raises(ValueError, match="zip"):
        submit(batcher, 1).result(PATIENCE_S)
    batcher.close(drain_s=PATIENCE_S)


def test_a_full_queue_refuses_and_says_when_to_come_back(batcher, run):
    block(batcher, run)
    waiting = submit(batcher, *range(20))
    with pytest.raises(QueueFull, match="holds 20") as refusal:
        submit(batcher, 1)
    assert refusal.value.retry_after_s >= 1
    run.gate.set()
    assert len(waiting.result(PATIENCE_S).results) == 20
    assert submit(batcher, 1).result(PATIENCE_S).results == [2]


def test_a_request_larger_than_the_queue_finds_room_in_an_empty_one(batcher):
    assert len(submit(batcher, *range(50)).result(PATIENCE_S).results) == 50


def test_a_request_whose_deadline_passed_is_dropped_before_it_costs_anything(batcher, run):
    block(batcher, run)
    late = submit(batcher, 1, timeout_s=-1.0)
    run.gate.set()
    with pytest.raises(DeadlinePassed):
        late.result(PATIENCE_S)
    submit(batcher, 2).result(PATIENCE_S)
    assert ("k", [1]) not in run.calls


def test_closing_answers_what_waits_and_refuses_the_rest(batcher, run):
    block(batcher, run)
    waiting = submit(batcher, 1)
    closing = threading.Thread(target=partial(batcher.close, drain_s=PATIENCE_S))
    closing.start()
    run.gate.set()
    closing.join(PATIENCE_S)
    assert waiting.result(0).results == [2]
    with pytest.raises(Draining):
        submit(batcher, 3)


def test_closing_a_stuck_model_refuses_what_still_waits(batcher, run):
    block(batcher, run)
    waiting = submit(batcher, 1)
    batcher.close(drain_s=0.01)
    with pytest.raises(Draining):
        waiting.result(PATIENCE_S)


@settings(max_examples=examples(100))
@given(
    requests=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(-2, 50)), max_size=9), max_size=12
    ),
    max_batch=st.integers(1, 5),
)
def test_whatever_is_asked_every_caller_gets_their_own_answer(requests, max_batch):
    def run(_: str, items: Sequence[int]) -> list[int]:
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [2 * item for item in items]

    batcher: Batcher[str, int, int] = Batcher(run, max_batch=max_batch, max_queue=10_000)
    futures = [
        batcher.submit([key for key, _ in one], [item for _, item in one], timeout_s=PATIENCE_S)
        for one in requests
    ]
    for one, future in zip(requests, futures, strict=True):
        if any(item < 0 for _, item in one):
            with pytest.raises(ValueError, match="negative"):
                future.result(PATIENCE_S)
        else:
            assert future.result(PATIENCE_S).results == [2 * item for _, item in one]
    batcher.close(drain_s=PATIENCE_S)
    assert batcher.waiting == 0


def test_what_is_no_items_fault_fails_the_whole_batch_after_one_call():
    calls = []

    def run(key, items):
        calls.append(list(items))
        raise RemoteUnavailable("the service is away")

    batcher = Batcher(run, max_batch=8, max_queue=8)
    future = batcher.submit(["k"] * 4, [1, 2, 3, 4], timeout_s=10)
    with pytest.raises(RemoteUnavailable):
        future.result(10)
    batcher.close(drain_s=PATIENCE_S)
    assert calls == [[1, 2, 3, 4]]
