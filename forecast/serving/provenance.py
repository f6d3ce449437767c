"""What weights on this disk have seen, from what is written beside them."""

from pathlib import Path

from forecast.core.lookahead import Provenance
from forecast.models.base.config import TrainingMode
from forecast.models.base.saved import TRAINING_FILE, TrainingRecord
from forecast.models.spec import ModelSpec
from forecast.store.manifest import read_manifest
from forecast.store.sources import ResolvedSource


def provenance_of(spec: ModelSpec, weights: ResolvedSource | None) -> Provenance:
    """Read the provenance of weights: of a version its manifest, else the record of a training.

    Weights without either are foreign: they are a root themselves.

    Args:
        weights: None for a family that loads none.
    """
    if weights is None and spec.is_ready_at_once:
        return Provenance()  # it learns nothing but the series of each request
    if weights is None:
        return Provenance(roots=(spec.root_of(spec.model_id),))  # a service has them
    manifest = read_manifest(weights.path)
    if manifest is not None:
        return manifest.metadata.provenance
    record = training_record(weights.path)
    if record is not None:
        return _of_record(spec, record)
    return Provenance(roots=(spec.root_of(weights.source, weights.published_at),))


def training_record(folder: Path) -> TrainingRecord | None:
    """Read what is written about the training of a model; None where there is nothing."""
    try:
        return TrainingRecord.model_validate_json((folder / TRAINING_FILE).read_bytes())
    except (OSError, ValueError):
        return None


def _of_record(spec: ModelSpec, record: TrainingRecord) -> Provenance:
    is_tuned = record.mode is TrainingMode.FINE_TUNE
    return Provenance(
        seen_until=record.cutoff,
        is_dated=record.cutoff is not None,
        roots=(spec.root_of("other weights"),) if is_tuned else (),
    )
