"""Whether a new version becomes `current`: never, always, or where it is better on newer data."""

from dataclasses import dataclass

import numpy as np

from forecast.core.state import Comparison
from forecast.jobs.context import JobContext
from forecast.jobs.plans import TrainingPlan
from forecast.store.config import StoreConfig
from forecast.store.names import CURRENT
from forecast.store.versions import ModelStore

_METRICS = ("mase", "wql")


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a new version.

    Attributes:
        message: one line about it; None where nothing was to be decided.
        metrics: of both, where they were compared.
    """

    is_promoted: bool
    message: str | None = None
    metrics: tuple[tuple[str, float], ...] = ()


def promoted(plan: TrainingPlan, name: str, context: JobContext, store: ModelStore) -> Promotion:
    """Let `current` mean a version, if the policy of the plan says so.

    With `if_better` it becomes current where there is no current version, or where it was better
    by the margin on steps that are newer than all that the current one has seen, and that had no
    part in choosing its own weights.

    Raises:
        ForecastError: the store does not take it.
    """
    shelf = store.model(plan.model_id)
    current = shelf.aliases.get(CURRENT)
    if plan.promote == "never" or current == name:
        return Promotion(is_promoted=False)
    verdict = Promotion(is_promoted=True, message=f"{name} is current now")
    if plan.promote == "if_better" and current is not None:
        comparison = shelf.get(name).metadata.comparison
        verdict = _verdict((name, current), comparison, store.config, plan.margin)
    if verdict.is_promoted:
        shelf.aliases.set(CURRENT, name, who=f"job {context.job_id}", why=verdict.message or "")
    return verdict


def _verdict(
    names: tuple[str, str], comparison: Comparison | None, config: StoreConfig, margin: float
) -> Promotion:
    name, current = names
    if why := _not_comparable(comparison, current):
        said = f"{current} stays current: it could not be compared with {name}: {why}"
        return Promotion(is_promoted=False, message=said)
    assert comparison is not None
    metrics, ratio = _ratio(comparison, config)
    pairs = [(one, comparison.candidate[one], comparison.current[one]) for one in metrics]
    said = ", ".join(f"{one} {new:.4g} against {old:.4g}" for one, new, old in pairs)
    is_better = ratio <= 1 - margin
    return Promotion(
        is_promoted=is_better,
        message=f"{name} is current now: {said} of {current}"
        if is_better
        else f"{current} stays current: {name} has {said}, not {margin:.1%} better",
        metrics=tuple(
            number
            for one, new, old in pairs
            for number in ((f"candidate_{one}", new), (f"current_{one}", old))
        ),
    )


def _not_comparable(comparison: Comparison | None, current: str) -> str | None:
    if comparison is None:
        return "no whole horizon of the data is newer than what the current version has seen"
    if comparison.version != current:
        return f"it was compared with {comparison.version}, which was current when it was trained"
    if comparison.failed is not None:
        return comparison.failed
    if not set(comparison.candidate) & set(comparison.current):
        return "no metric has a meaning for the newer steps"
    return None


def _ratio(comparison: Comparison, config: StoreConfig) -> tuple[tuple[str, ...], float]:
    """Name the metrics compared, and the mean of new over old; below 1 the new version is better.

    MASE and WQL, or the metric that the store keeps versions by; MAE where MASE has no meaning.
    """
    there = set(comparison.candidate) & set(comparison.current)
    chosen = config.keep_best_by
    if chosen is not None and chosen in there:
        new, old = comparison.candidate[chosen], comparison.current[chosen]
        return (chosen,), _over(new, old) if config.lower_is_better else _over(old, new)
    metrics = tuple(one for one in _METRICS if one in there) or ("mae",)
    ratios = [_over(comparison.candidate[one], comparison.current[one]) for one in metrics]
    return metrics, float(np.mean(ratios))


def _over(new: float, old: float) -> float:
    if old > 0:
        return new / old
    return float("inf") if new > 0 else 1.0
