"""What becomes current, from what versions said of each other."""

from datetime import UTC, datetime

import pytest

from forecast.core.state import Comparison
from forecast.training.plan import TrainingPlan
from forecast.training.publish import promote
from tests.training.fit_helpers import store_at
from tests.training.stored_models import publish

pytest.importorskip("torch", reason="needs the networks extra")

PLAN = TrainingPlan(promote="if_better")
OLD = {"mase": 1.0, "wql": 0.2}


def compared(candidate: dict[str, float], current: dict[str, float] = OLD, **changes) -> Comparison:
    given = {"version": "v1.0", "seen": datetime(2020, 1, 1, tzinfo=UTC), "horizon": 4}
    return Comparison(
        **given | {"origins": 3, "candidate": candidate, "current": current} | changes
    )


@pytest.mark.parametrize(
    ("comparison", "expected", "words"),
    [
        (compared({"mase": 0.98, "wql": 0.196}), "v2.0", "mase 0.98 against 1, wql 0.196 against"),
        (compared({"mase": 0.995, "wql": 0.199}), "v1.0", "not 1.0% better"),
        (compared({"mase": 0.9, "wql": 0.3}), "v1.0", "wql 0.3 against 0.2"),
        (compared({"mae": 0.5}, {"mae": 1.0}), "v2.0", "mae 0.5 against 1"),
        (compared({"mase": 0.0, "wql": 0.0}, {"mase": 0.0, "wql": 0.0}), "v1.0", "mase 0 against"),
        (compared({"mase": 0.5}, version="v0.9"), "v1.0", "compared with v0.9"),
        (compared({}, {}, failed="it is gone"), "v1.0", "it is gone"),
        (None, "v1.0", "no whole horizon of the data is newer"),
    ],
)
def test_a_version_becomes_current_where_it_is_better_by_the_margin(
    tmp_path, comparison, expected, words
):
    store = store_at(tmp_path)
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    publish(store, "v1.0", moment)
    shelf = store.model("lstm")
    shelf.aliases.set("current", "v1.0", who="test", why="the first")
    publish(store, "v2.0", moment, comparison=comparison)
    found = promote(PLAN, "v2.0", shelf, store.config, "job-1")
    assert shelf.aliases.get("current") == expected
    assert words in found.message
    assert promote(PLAN, expected, shelf, store.config, "job-1").message is None
