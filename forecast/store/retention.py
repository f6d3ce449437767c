"""Which versions are kept, and the removal of the rest."""

import math
from collections.abc import Collection, Sequence

from forecast.core.state import ModelMetadata
from forecast.store.config import StoreConfig


def superfluous(
    newest_first: Sequence[ModelMetadata], config: StoreConfig, protected: Collection[str]
) -> list[str]:
    """Name the versions that the policy does not keep, the oldest first.

    The newest is always kept: whoever published it has yet to look at it.
    """
    if config.max_versions is None:
        return []
    ranked = list(newest_first)
    if config.keep_best_by is not None:
        ranked.sort(key=lambda metadata: _rank(metadata, config))  # stable: ties by age
    kept = {metadata.version for metadata in (*ranked[: config.max_versions], *newest_first[:1])}
    names = [metadata.version for metadata in reversed(newest_first)]
    return [name for name in names if name not in kept and name not in protected]


def superfluous_snapshots(
    newest_first: Sequence[str], config: StoreConfig, protected: Collection[str]
) -> list[str]:
    """Name the snapshots that the policy does not keep, the oldest first."""
    if config.max_snapshots is None:
        return []
    beyond = list(reversed(newest_first[config.max_snapshots :]))
    return [name for name in beyond if name not in protected]


def _rank(metadata: ModelMetadata, config: StoreConfig) -> float:
    value = metadata.metrics.get(config.keep_best_by or "")
    if value is None:
        return math.inf
    return value if config.lower_is_better else -value
