"""What weights have seen, from what lies beside them and what the catalogue of a family says."""

from dataclasses import replace
from datetime import UTC, datetime

from forecast.core.lookahead import Provenance, Root
from forecast.models import MODEL_REGISTRY
from forecast.serving.provenance import provenance_of
from forecast.store.sources import ResolvedSource

SPEC = MODEL_REGISTRY["chronos"]
PUBLISHED = datetime(2024, 11, 25, tzinfo=UTC)


def test_public_weights_are_a_root_with_the_date_of_their_commit(tmp_path):
    weights = ResolvedSource("hf:some/weights@abc", tmp_path, None, PUBLISHED)
    root = Root(source=weights.source, published_at=PUBLISHED)
    assert provenance_of(SPEC, weights) == Provenance(roots=(root,))


def test_the_catalogue_of_a_family_tells_more_of_public_weights(tmp_path):
    made_up = Root(source="hf:some/weights", training_data="synthetic")
    spec = replace(SPEC, checkpoints=(made_up,))
    weights = ResolvedSource("hf:some/weights@abc", tmp_path, None)
    (root,) = provenance_of(spec, weights).roots
    assert (root.source, root.training_data) == ("hf:some/weights@abc", "synthetic")


def test_a_family_that_is_fitted_to_each_request_has_seen_nothing_and_a_service_who_knows_what():
    assert provenance_of(MODEL_REGISTRY["statistical"], None) == Provenance()
    (root,) = provenance_of(MODEL_REGISTRY["timegpt"], None).roots
    assert (root.source, root.training_data) == ("timegpt", "unknown")
