"""How a trained model enters the store: published under a name, and promoted to `current`."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from forecast.core.errors import Conflict
from forecast.core.state import Comparison, ModelMetadata
from forecast.jobs.context import JobContext
from forecast.jobs.records import FitResult, JobProgress
from forecast.models.base.saved import TrainingRecord
from forecast.store.config import StoreConfig
from forecast.store.names import CURRENT, snapshot_name
from forecast.store.versions import ModelShelf, Version
from forecast.training.fit import Fit, PreparedFit
from forecast.training.plan import TrainingPlan

_PROPOSALS = 10
_METRICS = ("mase", "wql")


@dataclass(frozen=True, slots=True)
class Trained:
    """A fit that is not published.

    Attributes:
        prepared: what it saw, and up to when.
        seconds: that it took.
        progress: the last report.
        comparison: with the current version; None where there was none.
        notes: warnings for the caller.
    """

    metrics: dict[str, float]
    record: TrainingRecord
    prepared: PreparedFit
    seconds: float
    progress: JobProgress
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()


def find_existing_version(
    fit: Fit, prepared: PreparedFit, shelf: ModelShelf, context: JobContext
) -> FitResult | None:
    """Return the version that a fit would produce, if it is already stored."""
    hashes = {"config_sha256": prepared.config_sha256, "data_sha256": prepared.data_sha256}
    found = shelf.find_equal(**hashes) if fit.snapshot is None else shelf.snapshot(fit.snapshot)
    if found is None:
        return None
    is_ours = found.metadata.job_id == context.job_id  # published, and then the worker was killed
    if fit.overwrite and not is_ours:
        return None
    return FitResult(
        window=fit.name,
        state="trained" if is_ours else "skipped",
        version=found.name,
        cutoff=found.cutoff,
        metrics=found.metadata.metrics,
        detail=_differences(found, hashes),
    )


def _differences(found: Version, hashes: Mapping[str, str]) -> str | None:
    names = {"config_sha256": "configuration", "data_sha256": "data"}
    differ = [what for name, what in names.items() if getattr(found.metadata, name) != hashes[name]]
    if not differ:
        return None
    return f"it is there already, of another {' and '.join(differ)}; overwrite trains it anew"


def publish(
    fit: Fit, trained: Trained, shelf: ModelShelf, context: JobContext, draft: Path
) -> FitResult:
    """Publish a trained model as a version or a snapshot."""
    context.report(trained.progress.model_copy(update={"phase": "publishing"}))
    version = _publish(fit, trained, shelf, context, draft)
    return FitResult(
        window=fit.name,
        state="trained",
        version=version.name,
        cutoff=version.cutoff,
        metrics=version.metadata.metrics,
        seconds=round(trained.seconds, 3),
        detail="; ".join(trained.notes) or None,
    )


def _publish(
    fit: Fit, trained: Trained, shelf: ModelShelf, context: JobContext, draft: Path
) -> Version:
    """Publish a draft; a version's name that was taken meanwhile is replaced by another."""
    if fit.snapshot is not None:
        metadata = _metadata(fit, trained, context, snapshot_name(fit.snapshot))
        return shelf.publish(draft, metadata, overwrite=fit.overwrite)
    prepared = trained.prepared
    for _ in range(_PROPOSALS):
        name = shelf.propose(config_sha256=prepared.config_sha256, data_sha256=prepared.data_sha256)
        with suppress(Conflict):
            return shelf.publish(draft, _metadata(fit, trained, context, name))
    raise Conflict("many versions are published at this moment; train again")


def _metadata(fit: Fit, trained: Trained, context: JobContext, name: str) -> ModelMetadata:
    record, prepared = trained.record, trained.prepared
    return ModelMetadata(
        model_id=fit.spec.model_id,
        version=name,
        kind="version" if fit.snapshot is None else "snapshot",
        trained_at=record.finished_at,
        cutoff=prepared.cutoff,
        provenance=prepared.provenance,
        metrics=trained.metrics,
        steps=record.length.steps if record.length else None,
        refit=record.refit,
        comparison=trained.comparison,
        item_ids=tuple(dict.fromkeys(record.item_ids)),
        num_points=record.num_points,
        data_reference=fit.plan.data_reference,
        data_sha256=prepared.data_sha256,
        config_sha256=prepared.config_sha256,
        source=prepared.weights.source if prepared.weights else None,
        git_commit=record.git_commit,
        job_id=context.job_id,
    )


# Promotion


@dataclass(frozen=True, slots=True)
class Promotion:
    """Whether a new version became `current`.

    Attributes:
        message: one line about it; None where nothing was to be decided.
        metrics: of both versions, where they were compared.
    """

    is_promoted: bool
    message: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def promote(
    plan: TrainingPlan, name: str, shelf: ModelShelf, config: StoreConfig, job_id: str
) -> Promotion:
    """Make a version `current`, if the plan says so.

    With `if_better` it becomes current where there is no current version, or where it was better
    by the margin on steps that the current version has not seen, and that had no part in choosing
    its own weights.

    Raises:
        ForecastError: the store cannot be written.
    """
    current = shelf.aliases.get(CURRENT)
    if plan.promote == "never" or current == name:
        return Promotion(is_promoted=False)
    verdict = Promotion(is_promoted=True, message=f"{name} is current now")
    if plan.promote == "if_better" and current is not None:
        comparison = shelf.get(name).metadata.comparison
        verdict = _verdict((name, current), comparison, config, plan.promotion_margin)
    if verdict.is_promoted:
        shelf.aliases.set(CURRENT, name, who=f"job {job_id}", why=verdict.message or "")
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
        metrics={
            f"{which}_{one}": value
            for one, new, old in pairs
            for which, value in (("candidate", new), ("current", old))
        },
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
