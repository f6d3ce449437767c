"""How many examples of a kind are tried: all of them with --slow, else a tenth."""

from hypothesis import settings

QUICK, SLOW = "quick", "slow"
# The same examples in each run: one that fails is found by --slow, not by whose turn it is.
settings.register_profile(QUICK, max_examples=10, deadline=None, derandomize=True)
settings.register_profile(SLOW, max_examples=100, deadline=None)


def examples(whole: int) -> int:
    """Give the number of examples to try where there may be `whole`."""
    return whole if settings.get_current_profile_name() == SLOW else -(-whole // 10)
