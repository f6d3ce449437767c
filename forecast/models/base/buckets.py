"""Which series of a batch share a call, so that none is padded to much more than its length."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def rounded_up(steps: int, block: int) -> int:
    """Round up to a whole number of blocks, at least one."""
    return max(1, -(-steps // block)) * block


def context_bucket(steps: int, patch: int, longest: int) -> int:
    """Name the context that `steps` are padded to: a power of two of patches, at most `longest`.

    It depends on the series alone, so a series is computed the same way in any company.
    """
    patches = max(1, -(-steps // patch))
    return min(patch << (patches - 1).bit_length(), longest)


def in_buckets(
    items: Sequence[Item],
    bucket_of: Callable[[Item], int],
    call: Callable[[list[Item], int], list[Answer]],
    batch_size: int,
) -> list[Answer]:
    """Run `call(items, bucket)` on what shares a bucket, at most `batch_size` at once.

    Returns:
        The answers in the order of `items`.
    """
    places: dict[int, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        places[bucket_of(item)].append(place)
    answers: dict[int, Answer] = {}
    for bucket, members in places.items():
        for first in range(0, len(members), batch_size):
            some = members[first : first + batch_size]
            answers.update(zip(some, call([items[place] for place in some], bucket), strict=True))
    return [answers[place] for place in range(len(items))]
