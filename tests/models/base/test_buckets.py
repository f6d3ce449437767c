import pytest

from forecast.models.base.buckets import context_bucket, in_buckets, rounded_up


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
