"""Look-ahead: whether weights may forecast from a moment, and covariates that leak the target."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from forecast.core.times import Moment, shown, to_datetime64

if TYPE_CHECKING:  # types.py imports pandas, which the store does without
    from forecast.core.types import CovariateArray, FloatArray, Series

_LEAKING = 0.999  # absolute correlation, step by step
_MIN_STEPS = 8  # that both have; two or three points lie on a line by chance
_SHOWN = 3  # series in a warning


class Root(BaseModel):
    """Foreign weights that others descend from, and what is known of their training data.

    Attributes:
        source: of the weights, such as `hf:someone/weights`.
        training_data: `synthetic` holds nothing of any past; `dated` ends at `cutoff`.
        cutoff: of dated training data.
        published_at: nothing later can have had any part in them; None where not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    training_data: Literal["synthetic", "dated", "unknown"] = "unknown"
    cutoff: Moment | None = None
    published_at: Moment | None = None


class Provenance(BaseModel):
    """What weights have seen, through all generations; of weights that saw nothing, it is empty.

    Attributes:
        seen_until: the latest moment of any data of ours that had a part in them; None for none.
        is_dated: whether all of that data had times.
        roots: every set of foreign weights that they descend from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen_until: Moment | None = None
    is_dated: bool = True
    roots: tuple[Root, ...] = ()

    def followed_by(self, learned: "Provenance") -> "Provenance":
        """Give the provenance of weights that start from these and learn something more."""
        seen = [one.seen_until for one in (self, learned) if one.seen_until is not None]
        return Provenance(
            seen_until=max(seen, default=None),
            is_dated=self.is_dated and learned.is_dated,
            roots=tuple(dict.fromkeys((*self.roots, *learned.roots))),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether weights may forecast from a moment.

    Attributes:
        warnings: why the forecast may know of what came later.
    """

    allowed: bool = True
    warnings: tuple[str, ...] = ()


def may_forecast(
    provenance: Provenance, as_of: np.datetime64 | None, *, name: str, strict: bool
) -> Verdict:
    """Judge whether weights may forecast what comes after a moment: the one place that decides.

    They may if all that they saw lies before it: dated data by its end, foreign weights whose
    training data is not known by the day of their publication, which cannot know the next one.
    Synthetic data knows no moment.

    Args:
        as_of: the last moment that the forecast may know of; None where time is not known.
        name: of the weights, for the warnings.
        strict: refuse what would else be warned of.
    """
    doubts = tuple(_doubts(provenance, as_of, name))
    return Verdict(allowed=not (strict and doubts), warnings=doubts)


def _doubts(provenance: Provenance, as_of: np.datetime64 | None, name: str) -> Iterator[str]:
    roots = [root for root in provenance.roots if root.training_data != "synthetic"]
    if as_of is None:
        if roots or not provenance.is_dated or provenance.seen_until is not None:
            yield (
                "the series have no times to compare with what"
                f" {name} has seen; send start and freq, or timestamps"
            )
        return
    if not provenance.is_dated:
        yield (
            f"the cutoff of {name} is not known, so it may have seen what came after {shown(as_of)}"
        )
    if provenance.seen_until is not None and to_datetime64(provenance.seen_until) > as_of:
        seen = shown(to_datetime64(provenance.seen_until))
        yield f"{name} has seen data until {seen}, after {shown(as_of)}"
    for root in roots:
        if (doubt := _doubt_of_root(root, as_of)) is not None:
            yield f"{name} comes from {root.source}, {doubt}"


def _doubt_of_root(root: Root, as_of: np.datetime64) -> str | None:
    limit = root.cutoff if root.training_data == "dated" else root.published_at
    if limit is None:
        return f"which may have seen what came after {shown(as_of)}"
    moment = to_datetime64(limit)
    if moment <= as_of:
        return None
    if root.training_data == "dated":
        return f"which has seen data until {shown(moment)}, after {shown(as_of)}"
    return (
        f"which was published on {moment.astype('datetime64[D]')} and may have seen what came"
        f" after {shown(as_of)}"
    )


def leaking(series: "Sequence[Series]") -> tuple[str, ...]:
    """Warn of each known future covariate that follows the target: target leakage.

    Its future values are unlikely to be known before those of the target.
    """
    found: dict[str, list[str]] = {}
    for one in series:
        for name in one.future_covariates:
            if _follows_target(one.past_covariates[name], one.target):
                found.setdefault(name, []).append(one.item_id)
    return tuple(_leakage_warning(name, item_ids) for name, item_ids in found.items())


def _follows_target(covariate: "CovariateArray", target: "FloatArray") -> bool:
    """Whether a covariate [T] follows a channel of the target [C, T] step by step."""
    if covariate.dtype.kind in "UO":  # categories
        return False
    return any(_follows(covariate, channel) for channel in target)


def _follows(covariate: "FloatArray", channel: "FloatArray") -> bool:
    known = np.isfinite(covariate) & np.isfinite(channel)
    if np.count_nonzero(known) < _MIN_STEPS:
        return False
    pair = np.stack([covariate[known], channel[known]])
    around = pair - pair.mean(axis=1, keepdims=True)
    largest = np.abs(around).max(axis=1, keepdims=True)
    if not largest.all():
        return False
    around /= largest  # so that no square is lost
    product = around[0] @ around[1]
    size = np.sqrt((around[0] @ around[0]) * (around[1] @ around[1]))
    return bool(abs(product) > _LEAKING * size)


def _leakage_warning(name: str, item_ids: Sequence[str]) -> str:
    more = f" and {len(item_ids) - _SHOWN} more" if len(item_ids) > _SHOWN else ""
    named = ", ".join(map(repr, item_ids[:_SHOWN])) + more
    return (
        f"known future covariate {name!r} follows the target of {named} almost exactly"
        f" (correlation above {_LEAKING}); if its values are not known before those"
        " of the target, send it as a past covariate"
    )
