"""`forecast sync`: copies versions to the hub or to MLflow, and from there."""

import argparse
import json
import sys
from collections.abc import Sequence

from forecast.logs import configure_logging
from forecast.models import MODEL_REGISTRY
from forecast.settings import Settings, read_settings
from forecast.store.sync import StoreSync
from forecast.wiring.shared import store_of
from forecast.wiring.sync import sync_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Sync, print one JSON object with a report per model, and exit with 1 if anything failed."""
    asked = _parser().parse_args(arguments)
    try:
        settings = read_settings()
        configure_logging("sync", settings.log_level, settings.log_format, access=False)
        sync, wanted = _chosen(settings, asked.model_id)
    except ValueError as error:
        sys.exit(f"forecast sync: {error}")
    reports = {model_id: _synced(sync, model_id, asked.only) for model_id in wanted}
    sys.stdout.write(json.dumps(reports, indent=2) + "\n")
    sys.exit(any(report["failed"] for way in reports.values() for report in way.values()))


def _chosen(settings: Settings, model_ids: Sequence[str]) -> tuple[StoreSync, list[str]]:
    """Build the copies, and choose the models.

    Raises:
        ValueError: a model has no place elsewhere.
    """
    if settings.storage_backend == "local":
        raise ValueError("there is nothing to sync with: STORAGE_BACKEND is local")
    sync = sync_of(settings, store_of(settings))
    there = [model_id for model_id in MODEL_REGISTRY if sync.remote(model_id)]
    if unknown := [model_id for model_id in model_ids if model_id not in there]:
        raise ValueError(f"{', '.join(unknown)}: not copied anywhere; {', '.join(there)} are")
    return sync, list(model_ids) or there


def _synced(sync: StoreSync, model_id: str, only: str | None) -> dict[str, dict[str, object]]:
    ways = {"upload": sync.sync_all_to_remote, "download": sync.sync_all_to_local}
    return {way: run(model_id).to_dict() for way, run in ways.items() if only in (None, way)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="forecast sync", description=__doc__)
    parser.add_argument("model_id", nargs="*", help="the models; otherwise all that have a place")
    parser.add_argument(
        "--only", choices=("upload", "download"), help="one way; otherwise both, upload first"
    )
    return parser


if __name__ == "__main__":
    main()
