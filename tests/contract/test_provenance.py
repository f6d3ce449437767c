"""Weights that any family tunes further have seen what the weights they start from saw."""

from datetime import UTC, datetime

import numpy as np
import pytest

from forecast.core.errors import LooksAhead
from forecast.core.lookahead import Provenance
from forecast.core.state import ModelMetadata
from forecast.models.base.config import TrainingMode
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.training.fit import prepare
from tests.contract.forecasts import daily
from tests.training.fit_helpers import fit_of, sources_at, store_at

NEWER = datetime(2030, 1, 1, tzinfo=UTC)


def test_what_starts_from_newer_weights_is_as_new_as_they_are(model: BaseTimeSeriesModel, tmp_path):
    spec = model.spec
    if not (spec.needs_training or spec.capabilities.fine_tunable):
        pytest.skip("learns nothing")
    store = store_at(tmp_path)
    shelf = store.model(spec.model_id)
    with shelf.new_draft() as draft:
        model.save_model(draft)
        seen = Provenance(seen_until=NEWER)
        facts = ModelMetadata(model_id=spec.model_id, version="v1.0", cutoff=NEWER, provenance=seen)
        shelf.publish(draft, facts)
    series = daily(np.sin(np.arange(1000.0)))
    asked = {
        "model_id": spec.model_id,
        "config": {"training_mode": TrainingMode.FINE_TUNE},
        "series": [series],
        "source": "store:v1.0",
    }
    sources = sources_at(tmp_path, store)
    fit = prepare(fit_of(**asked), sources)
    assert series.known_from[-1] < np.datetime64(NEWER.replace(tzinfo=None))
    assert fit.provenance.seen_until == fit.cutoff == NEWER
    with pytest.raises(LooksAhead, match="2030-01-01"):
        prepare(fit_of(**asked, cutoff=series.known_from[-1]), sources)
