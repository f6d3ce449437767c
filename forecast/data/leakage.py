"""Known future covariates that repeat the target: target leakage."""

from collections.abc import Sequence

import numpy as np

from forecast.core.types import CovariateArray, FloatArray, Series, is_categorical

_MOST_LIKELY_THE_TARGET = 0.999  # of a correlation, step by step
_FEWEST = 8  # steps that both have; two or three points lie on a line by chance
_NAMED = 3  # series in a warning


def leaking(series: Sequence[Series]) -> tuple[str, ...]:
    """Warn of each known future covariate that correlates with the target step by step.

    Its future is not known before the target itself is.
    """
    found: dict[str, list[str]] = {}
    for one in series:
        for name in one.future_covariates:
            if _is_target(one.past_covariates[name], one.target):
                found.setdefault(name, []).append(one.item_id)
    return tuple(_warning(name, item_ids) for name, item_ids in found.items())


def _is_target(covariate: CovariateArray, target: FloatArray) -> bool:
    """Whether a covariate [T] follows a channel of the target [C, T] step by step."""
    if is_categorical(covariate):
        return False
    return any(_follows(covariate, channel) for channel in target)


def _follows(covariate: FloatArray, channel: FloatArray) -> bool:
    known = np.isfinite(covariate) & np.isfinite(channel)
    if np.count_nonzero(known) < _FEWEST:
        return False
    pair = np.stack([covariate[known], channel[known]])
    around = pair - pair.mean(axis=1, keepdims=True)
    largest = np.abs(around).max(axis=1, keepdims=True)
    if not largest.all():
        return False
    around /= largest  # so that no square is lost
    product = around[0] @ around[1]
    size = np.sqrt((around[0] @ around[0]) * (around[1] @ around[1]))
    return bool(abs(product) > _MOST_LIKELY_THE_TARGET * size)


def _warning(name: str, item_ids: Sequence[str]) -> str:
    more = f" and {len(item_ids) - _NAMED} more" if len(item_ids) > _NAMED else ""
    named = ", ".join(map(repr, item_ids[:_NAMED])) + more
    return (
        f"known future covariate {name!r} follows the target of {named} almost exactly"
        f" (correlation above {_MOST_LIKELY_THE_TARGET}); if its values are not known before those"
        " of the target, send it as a past covariate"
    )
