from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import Series
from forecast.models.base.windows import Windows, context_bucket, in_buckets, rounded_up

NAN = float("nan")


def series(*rows: list[float], **parts) -> Series:
    return Series(target=np.array(rows, dtype=float), **parts)


def counting(length: int, **parts) -> Series:
    """0, 1, 2, …: the value of a step tells which it is."""
    return series(list(range(length)), **parts)


@st.composite
def gappy(draw) -> list[Series]:
    """Series of one or two channels in which some steps are missing."""
    channels = draw(st.integers(1, 2))
    lengths = draw(st.lists(st.integers(1, 25), min_size=1, max_size=4))
    return [
        series(
            *(
                draw(st.lists(st.just(NAN) | st.floats(-9, 9), min_size=n, max_size=n))
                for _ in range(channels)
            )
        )
        for n in lengths
    ]


@given(gappy(), st.integers(1, 8), st.integers(1, 5), st.integers(1, 6))
def test_every_window_shows_something_on_both_sides(data, context, horizon, stride):
    try:
        windows = Windows(data, context_length=context, horizon=horizon, stride=stride)
    except BadData:
        return
    batch = windows.take(np.arange(len(windows)))
    assert batch.past_observed.any(axis=(1, 2)).all()
    assert batch.future_observed.any(axis=(1, 2)).all()
    channels = data[0].num_channels
    assert batch.past.shape == batch.past_observed.shape == (len(windows), channels, context)
    assert batch.future.shape == batch.future_observed.shape == (len(windows), channels, horizon)
    assert batch.past.dtype == batch.future.dtype == np.float32
    assert not batch.past[~batch.past_observed].any()
    assert not batch.future[~batch.future_observed].any()


@given(gappy(), st.integers(1, 8), st.integers(1, 5), st.integers(1, 6))
def test_windows_hold_what_stands_in_their_series(data, context, horizon, stride):
    try:
        windows = Windows(data, context_length=context, horizon=horizon, stride=stride)
    except BadData:
        return
    batch = windows.take(np.arange(len(windows)))
    for number, past, future in zip(batch.series, batch.past, batch.future, strict=True):
        target = np.nan_to_num(data[number].target).astype(np.float32)
        padded = np.pad(target, ((0, 0), (context + horizon, 0)))
        whole = np.concatenate([past, future], axis=1)
        ends = range(padded.shape[1], context + horizon - 1, -1)
        assert any((padded[:, end - context - horizon : end] == whole).all() for end in ends)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 5), st.integers(1, 9))
def test_the_newest_window_is_always_there_and_the_others_are_a_stride_apart(
    spare, context, horizon, stride
):
    length = context + horizon + spare - 1
    windows = Windows([counting(length)], context_length=context, horizon=horizon, stride=stride)
    batch = windows.take(np.arange(len(windows)))
    last = batch.future[:, 0, -1]
    assert last[-1] == length - 1
    assert (np.diff(last) == stride).all()
    assert last[0] - stride < context + horizon - 1  # no room for one more before


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 5), st.integers(0, 3))
def test_shares_are_of_equal_size_and_leave_nothing_out(count, batch_size, shares, seed):
    windows = Windows([counting(count + 5)], context_length=4, horizon=2)
    assert len(windows) == count
    taken, sizes = [], set()
    for number in range(shares):
        rng = np.random.default_rng(seed)
        batches = list(windows.batches(batch_size, rng, share=(number, shares)))
        assert len(batches) == windows.count_batches(batch_size, shares)
        sizes.add(tuple(len(batch.past) for batch in batches))
        taken += [int(first) for batch in batches for first in batch.past[:, 0, 0]]
    assert len(sizes) == 1
    assert set(taken) == set(range(count))
    assert len(taken) < count + shares


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 8))
def test_batches_that_are_skipped_change_nothing_about_the_others(count, batch_size, skip):
    windows = Windows([counting(count + 5)], context_length=4, horizon=2)
    everything = list(windows.batches(batch_size, np.random.default_rng(1)))
    rest = list(windows.batches(batch_size, np.random.default_rng(1), skip=skip))
    assert len(rest) == max(len(everything) - skip, 0)
    for one, other in zip(rest, everything[skip:], strict=True):
        assert (one.past == other.past).all()


def test_without_a_generator_windows_come_in_the_order_of_time():
    windows = Windows([counting(9)], context_length=4, horizon=2)
    (batch,) = windows.batches(10)
    assert batch.past[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_series_that_is_too_short_gives_one_window_padded_at_the_start():
    windows = Windows([series([5.0, 6.0, 7.0])], context_length=4, horizon=2)
    batch = windows.take(np.arange(1))
    assert len(windows) == 1
    assert batch.past_observed.tolist() == [[[False, False, False, True]]]
    assert batch.past[0, 0, -1] == 5
    assert batch.future.tolist() == [[[6, 7]]]


def test_a_window_belongs_to_one_series_alone():
    windows = Windows([counting(6), counting(7)], context_length=4, horizon=2)
    assert windows.take(np.arange(3)).series.tolist() == [0, 1, 1]


def test_covariates_stand_beside_the_past_and_those_known_ahead_beside_the_future():
    one = counting(
        6,
        past_covariates={"price": np.arange(6.0) * 10, "holiday": np.arange(6.0) * 100},
        future_covariates={"holiday": np.arange(2.0)},
    )
    windows = Windows([one], context_length=4, horizon=2, known_ahead=["holiday"])
    batch = windows.take(np.arange(1))
    assert batch.past_covariates.tolist() == [[[0, 100, 200, 300], [0, 10, 20, 30]]]
    assert batch.future_covariates.tolist() == [[[400, 500]]]  # of the past values, not [0, 1]


def test_a_covariate_to_know_ahead_that_is_not_there_is_named():
    one = counting(6, past_covariates={"price": np.arange(6.0)})
    with pytest.raises(InvalidRequest, match="no covariate 'holiday' .* there are: price"):
        Windows([one], context_length=4, horizon=2, known_ahead=["holiday"])


@pytest.mark.parametrize(
    "data", [[], [series([NAN] * 9)], [series([1.0] * 4 + [NAN] * 2)], [series([1.0])]]
)
def test_where_there_is_nothing_to_learn_from_the_lengths_are_named(data):
    with pytest.raises(BadData, match="4 steps of context and in 2 steps after"):
        Windows(data, context_length=4, horizon=2)


def test_the_series_are_not_written_to():
    one = series([1.0, NAN, 3.0, 4.0, 5.0, NAN, 7.0])
    before = one.target.copy()
    list(Windows([one], context_length=3, horizon=2).batches(2))
    np.testing.assert_array_equal(one.target, before)


def test_the_hash_changes_with_the_data_and_with_how_it_is_cut():
    one = counting(12, past_covariates={"price": np.arange(12.0)})

    def sha(data: list[Series], **options) -> str:
        return Windows(data, **({"context_length": 4, "horizon": 2} | options)).sha256

    assert sha([one]) == sha([counting(12, past_covariates={"price": np.arange(12.0)})])
    others = [
        sha([replace(one, target=one.target + 1e-9)]),
        sha([replace(one, past_covariates={"price": np.arange(12.0) + 1})]),
        sha([one, one]),
        sha([one], context_length=5),
        sha([one], horizon=3),
        sha([one], stride=2),
        sha([one], known_ahead=["price"]),
    ]
    assert len({sha([one]), *others}) == 8


def ramp(steps: int) -> Series:
    return Series(
        np.arange(1.0, steps + 1)[None], past_covariates={"price": 10 * np.arange(1.0, steps + 1)}
    )


def taken(windows: Windows):
    return windows.take(np.arange(len(windows)))


def test_contexts_grow_from_the_least_to_the_longest():
    batch = taken(Windows([ramp(7)], context_length=4, horizon=2, least_context=2))
    assert batch.past_observed[:, 0].sum(axis=1).tolist() == [2, 3, 4, 4]
    assert batch.past[0, 0].tolist() == [0, 0, 1, 2]
    assert batch.past_covariates[0, 0].tolist() == [0, 0, 10, 20]
    assert batch.future[:, 0].tolist() == [[3, 4], [4, 5], [5, 6], [6, 7]]


def test_without_a_least_only_whole_windows_are_cut():
    batch = taken(Windows([ramp(7)], context_length=4, horizon=2))
    assert batch.past[:, 0].tolist() == [[1, 2, 3, 4], [2, 3, 4, 5]]


def test_a_series_shorter_than_the_least_still_gives_one_window():
    batch = taken(Windows([ramp(3)], context_length=4, horizon=2, least_context=3))
    assert batch.past[:, 0].tolist() == [[0, 0, 0, 1]]
    assert batch.future[:, 0].tolist() == [[2, 3]]


def test_a_least_beyond_the_longest_changes_nothing():
    plain = Windows([ramp(9)], context_length=4, horizon=2)
    assert Windows([ramp(9)], context_length=4, horizon=2, least_context=8).sha256 == plain.sha256


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, 32), (32, 32), (33, 64), (64, 64), (65, 128), (129, 256), (900, 1000), (5000, 1000)],
)
def test_a_context_is_a_power_of_two_of_patches_up_to_the_longest(steps, expected):
    assert context_bucket(steps, patch=32, longest=1000) == expected


@pytest.mark.parametrize(("steps", "expected"), [(0, 128), (1, 128), (128, 128), (129, 256)])
def test_steps_are_rounded_up_to_whole_blocks(steps, expected):
    assert rounded_up(steps, 128) == expected


def test_answers_keep_the_order_of_the_items_and_calls_the_limit():
    calls = []

    def call(some, bucket):
        calls.append((bucket, some))
        return [f"{item}/{bucket}" for item in some]

    answers = in_buckets([3, 11, 4, 12, 5, 13], lambda item: item // 10, call, batch_size=2)
    assert answers == ["3/0", "11/1", "4/0", "12/1", "5/0", "13/1"]
    assert calls == [(0, [3, 4]), (0, [5]), (1, [11, 12]), (1, [13])]


def test_a_call_that_answers_too_few_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        in_buckets([1, 2], lambda _: 0, lambda some, _: some[:1], batch_size=8)
