"""What a fit leaves in the store: what is there already, and how a draft gets its name."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forecast.core.errors import Conflict
from forecast.core.state import Comparison, ModelMetadata
from forecast.jobs.context import JobContext
from forecast.jobs.records import JobProgress, WindowResult
from forecast.models.base.saved import TrainingRecord
from forecast.store.names import snapshot_name
from forecast.store.versions import ModelShelf, Version
from forecast.training.fit_requests import FitRequest, Prepared

_PROPOSALS = 10


@dataclass(frozen=True, slots=True)
class Trained:
    """What a fit that is not published left in its folder.

    Attributes:
        comparison: with the version that is current; None where there was none.
        notes: what the caller should know.
        prepared: what it saw, and up to when.
        seconds: that it took.
        told: the last that it told.
    """

    metrics: dict[str, float]
    record: TrainingRecord
    prepared: Prepared
    seconds: float
    told: JobProgress
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()


def found_there(
    request: FitRequest, fit: Prepared, shelf: ModelShelf, context: JobContext
) -> WindowResult | None:
    """Find what a fit would make; None where it is to be made."""
    hashes = {"config_sha256": fit.config_sha256, "data_sha256": fit.data_sha256}
    if request.snapshot is None:
        found = shelf.find_equal(**hashes)
    else:
        found = shelf.snapshot(request.snapshot)
    if found is None:
        return None
    is_ours = found.metadata.job_id == context.job_id  # published, and then the worker was killed
    if request.overwrite and not is_ours:
        return None
    return WindowResult(
        window=request.window,
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


def published(
    request: FitRequest, trained: Trained, shelf: ModelShelf, context: JobContext, draft: Path
) -> WindowResult:
    context.report(trained.told.model_copy(update={"phase": "publishing"}))
    version = _publish(request, trained, shelf, context, draft)
    return WindowResult(
        window=request.window,
        state="trained",
        version=version.name,
        cutoff=version.cutoff,
        metrics=version.metadata.metrics,
        seconds=round(trained.seconds, 3),
        detail="; ".join(trained.notes) or None,
    )


def _publish(
    request: FitRequest, trained: Trained, shelf: ModelShelf, context: JobContext, draft: Path
) -> Version:
    """Publish a draft; a name that somebody took meanwhile is exchanged for another."""
    for _ in range(_PROPOSALS):
        name = _name(request, trained.prepared, shelf)
        metadata = _metadata(request, trained, context, name)
        if request.snapshot is not None:
            return shelf.publish(draft, metadata, overwrite=request.overwrite)
        with suppress(Conflict):
            return shelf.publish(draft, metadata)
    raise Conflict("many versions are published at this moment; train again")


def _name(request: FitRequest, fit: Prepared, shelf: ModelShelf) -> str:
    if request.snapshot is not None:
        return snapshot_name(request.snapshot)
    return shelf.propose(config_sha256=fit.config_sha256, data_sha256=fit.data_sha256)


def _metadata(
    request: FitRequest, trained: Trained, context: JobContext, name: str
) -> ModelMetadata:
    record, fit = trained.record, trained.prepared
    return ModelMetadata(
        model_id=request.spec.model_id,
        version=name,
        kind="version" if request.snapshot is None else "snapshot",
        trained_at=record.finished_at,
        cutoff=fit.cutoff,
        provenance=fit.provenance,
        metrics=trained.metrics,
        steps=record.length.steps if record.length else None,
        refit=record.refit,
        comparison=trained.comparison,
        item_ids=tuple(dict.fromkeys(record.item_ids)),
        num_points=record.num_points,
        data_reference=request.data_reference,
        data_sha256=fit.data_sha256,
        config_sha256=fit.config_sha256,
        source=fit.weights.source if fit.weights else None,
        git_commit=record.git_commit,
        job_id=context.job_id,
    )
