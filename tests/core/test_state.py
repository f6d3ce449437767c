import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from forecast.core.state import FORMAT_VERSION, ModelMetadata, TrainingState, migrated


def test_an_older_document_goes_through_each_migration_in_turn():
    migrations = [
        lambda document: {"steps": document["iterations"]},
        lambda document: {"global_step": document["steps"] * 2},
    ]
    expected = {"global_step": 10, "format_version": 3}
    assert migrated({"format_version": 1, "iterations": 5}, migrations) == expected
    assert migrated({"format_version": 2, "steps": 5}, migrations) == expected
    assert migrated(expected, migrations) == expected


@pytest.mark.parametrize("version", [None, 0, -1, 3, "1", True, 1.0])
def test_a_document_of_a_later_format_or_of_none_is_refused(version):
    with pytest.raises(ValueError, match=f"format {version} is not known.* up to 2"):
        migrated({"format_version": version}, [lambda document: document])


def test_what_is_written_of_a_model_is_read_back_alike():
    metadata = ModelMetadata(
        model_id="lstm",
        version="v1.0",
        cutoff=datetime(2020, 12, 31, 23, 59, 59),
        metrics={"mase": 0.8, "wql": float("nan"), "loss": float("inf")},
        item_ids=("A", "B"),
    )
    assert ModelMetadata.model_validate_json(metadata.model_dump_json()) == metadata
    assert metadata.metrics == {"mase": 0.8}
    assert metadata.cutoff_date.isoformat() == "2020-12-31"


def test_moments_are_in_utc_with_or_without_an_offset():
    east = timezone(timedelta(hours=2))
    late = ModelMetadata(model_id="x", version="v1", cutoff=datetime(2021, 1, 1, 1, tzinfo=east))
    assert late.cutoff_date.isoformat() == "2020-12-31"
    assert ModelMetadata(model_id="x", version="v1", cutoff=datetime(2021, 1, 1)).cutoff == (
        datetime(2021, 1, 1, tzinfo=UTC)
    )


def test_a_training_says_how_far_it_is_and_names_a_plain_file():
    state = TrainingState(global_step=5, epoch=1, state_file="step-00000005.pt", identity="x")
    document = json.loads(state.model_dump_json())
    assert document["format_version"] == FORMAT_VERSION
    assert TrainingState.model_validate(migrated(document)) == state
    for file in ("../up.pt", "a/b.pt", "", ".hidden"):
        with pytest.raises(ValidationError, match="state_file"):
            TrainingState(global_step=5, epoch=1, state_file=file, identity="x")
