"""Features for a whole history, each made by a model that has not seen its year."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import BadData, InvalidRequest, LooksAhead, SourceUnavailable
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models import MODEL_REGISTRY
from forecast.training.walk_forward import PriceGrid, WalkForward, build_forecast_features
from tests.training.stored_models import process_of, publish, publish_snapshot, store_at

ITEMS = ("AAA", "BBB", "CCC")
DATES = np.arange(
    np.datetime64("2018-01-05"), np.datetime64("2022-03-01"), np.timedelta64(7, "D")
)  # Fridays
YEARS = DATES.astype("datetime64[Y]").astype(int) + 1970
HORIZON = 4


def prices_of(seed: int = 0, dates: np.ndarray = DATES) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0.001, 0.03, (len(dates), len(ITEMS)))
    return 100 * np.exp(np.cumsum(steps, axis=0))


def how(store, **changes) -> WalkForward:
    given = {"store": store, "process": process_of, "bootstrap_years": 2, "context": 40}
    return WalkForward(**(given | {"config": {"device": "cpu"}, "workers": 2} | changes))


class Remote:
    """Brings a snapshot from a second store, or says that it cannot be reached."""

    def __init__(self, store, years=(), *, broken=False):
        self.store, self.years, self.broken = store, years, broken
        self.asked = []

    def ensure_available(self, model_id, name):
        self.asked.append(name)
        if self.broken:
            raise SourceUnavailable("the hub does not answer")
        year = int(name.removeprefix("snapshot_")[:4])
        return publish_snapshot(self.store, year) if year in self.years else None


def test_each_year_is_forecast_by_the_snapshot_before_it(tmp_path):
    pytest.importorskip("torch", reason="needs the networks extra")
    store = store_at(tmp_path)
    for year in (2019, 2020):
        publish_snapshot(store, year)
    prices = prices_of()
    prices[:130, 1] = np.nan  # listed on row 130, in 2020
    before = prices.copy()
    features = build_forecast_features(prices, DATES, ITEMS, "lstm", how(store))

    momentum = prices[4:] / prices[:-4] - 1
    first = YEARS < 2020
    np.testing.assert_allclose(features.values[4:][first[4:]], momentum[first[4:]])
    assert np.isnan(features.values[:4]).all()
    expected = {2018: "", 2019: "", 2020: "snapshot_2019-12-31", 2021: "snapshot_2020-12-31"}
    assert list(features.versions) == [
        expected.get(int(year), "snapshot_2020-12-31") for year in YEARS
    ]
    told = {2020: "snapshot", 2021: "snapshot", 2022: "earlier"}
    assert list(features.sources) == [told.get(int(year), "momentum") for year in YEARS]
    (warning,) = features.warnings
    assert "snapshot_2021-12-31" in warning
    assert "snapshot_2020-12-31" in warning
    assert np.isnan(features.values[:130, 1]).all()
    assert np.isfinite(features.values[YEARS >= 2020][:, [0, 2]]).all()
    assert np.isfinite(features.values[130:, 1]).all()
    np.testing.assert_array_equal(prices, before)

    model = store.model("lstm").get("snapshot_2019-12-31")
    check_by_hand(model, prices, features)
    frame = features.to_frame()
    assert len(frame) == prices.size
    row = frame[(frame["date"] == DATES[150]) & (frame["item_id"] == "CCC")].iloc[0]
    assert row["value"] == features.values[150, 2]
    assert (row["source"], row["version"]) == ("snapshot", "snapshot_2019-12-31")


def check_by_hand(version, prices, features):
    from forecast.models.lstm.model import LstmModel

    model = LstmModel.load_model(version.path, device="cpu")
    row = int(np.searchsorted(DATES, np.datetime64("2020-06-01")))
    known = Series(prices[: row + 1, 0][None])
    (forecast,) = model.predict([known], ForecastTask(HORIZON, quantile_levels=()))
    change = forecast.mean[0, -1] / prices[row, 0] - 1
    assert features.values[row, 0] == pytest.approx(change, rel=1e-4, abs=1e-7)


def test_no_value_changes_when_what_comes_after_it_does(tmp_path):
    pytest.importorskip("torch", reason="needs the networks extra")
    store = store_at(tmp_path)
    publish_snapshot(store, 2020)
    dates = DATES[YEARS >= 2020][:87]
    prices = prices_of(1, dates)
    given_how = how(store, bootstrap_years=1)
    whole = build_forecast_features(prices, dates, ITEMS, "lstm", given_how).values
    for row in (60, 80):
        changed = prices.copy()
        changed[row + 1 :] *= np.random.default_rng(row).uniform(0.1, 9, changed[row + 1 :].shape)
        values = build_forecast_features(changed, dates, ITEMS, "lstm", given_how).values
        np.testing.assert_array_equal(values[: row + 1], whole[: row + 1])
        assert (values[row + 1 :] != whole[row + 1 :]).any()


@given(
    seed=st.integers(0, 1000),
    row=st.integers(4, 59),
    step_days=st.sampled_from([1, 7, 14]),
    gap=st.integers(1, 58),
)
def test_nothing_known_at_a_row_comes_from_after_it(seed, row, step_days, gap):
    """Values, gaps and listings after a row are changed at will; what is known stays."""
    random = np.random.default_rng(seed)
    dates = np.datetime64("2020-01-01") + np.delete(np.arange(60), gap) * step_days
    row = min(row, len(dates) - 1)
    prices = random.uniform(1, 9, (len(dates), 2))
    changed = prices.copy()
    changed[row + 1 :] = random.choice([np.nan, 0.5, 7.0, 1e6], changed[row + 1 :].shape)
    one, other = (PriceGrid.of(values, dates, ["a", "b"]) for values in (prices, changed))
    np.testing.assert_array_equal(one.momentum()[: row + 1], other.momentum()[: row + 1])
    for item in (0, 1):
        left, right = one.known(row, item, 30), other.known(row, item, 30)
        np.testing.assert_array_equal(left.target, right.target)
        assert left.past_timestamps[-1] == dates[row]
        assert left.target[0, -1] == prices[row, item]
        assert left.future_covariates == {}


@pytest.mark.parametrize("cutoff", [datetime(2020, 1, 3, tzinfo=UTC), None])
def test_a_model_that_has_seen_the_year_is_refused(tmp_path, cutoff):
    """As a remote might bring it whose names say something else than what lies there."""
    pytest.importorskip("torch", reason="needs the networks extra")
    store = store_at(tmp_path)
    wrong = publish(store, "v2020-01-03-0000000", cutoff)

    class Mistaken:
        def ensure_available(self, model_id, name):
            return wrong

    with pytest.raises(LooksAhead, match="after 2020-01-02") as refused:
        build_forecast_features(prices_of(), DATES, ITEMS, "lstm", how(store, sync=Mistaken()))
    assert "v2020-01-03-0000000" in str(refused.value)


def test_what_is_missing_is_fetched_and_else_an_earlier_one_or_the_momentum_serves(tmp_path):
    pytest.importorskip("torch", reason="needs the networks extra")
    store = store_at(tmp_path)
    remote = Remote(store, years=(2020,))
    features = build_forecast_features(
        prices_of(), DATES, ITEMS, "lstm", how(store, sync=remote, bootstrap_years=1)
    )
    used = dict(zip(YEARS.tolist(), features.sources, strict=True))
    assert used == {
        2018: "momentum", 2019: "momentum", 2020: "momentum", 2021: "remote", 2022: "earlier",
    }  # fmt: skip
    assert remote.asked == [f"snapshot_{year}-12-31" for year in (2018, 2019, 2020, 2021)]
    assert any("before 2019" in warning for warning in features.warnings)


def test_sprout_may_serve_where_there_is_no_snapshot_from_the_first_row_on(tmp_path):
    dates = DATES[YEARS <= 2019][:70]
    prices = prices_of(2, dates)
    given_how = how(store_at(tmp_path), bootstrap_years=1, fallback="sprout")
    features = build_forecast_features(prices, dates, ITEMS, "lstm", given_how)
    assert set(features.sources) == {"sprout"}
    assert set(features.versions) == {"package:sprout"}
    assert features.warnings == ("there is no snapshot from before 2019; it gets sprout",)
    assert np.isfinite(features.values).all()
    model = MODEL_REGISTRY["sprout"].model_class().tiny()
    known = Series(prices[:61, 0][None][:, -40:], freq=Frequency.parse("W-FRI"))
    (forecast,) = model.predict([known], ForecastTask(HORIZON))
    change = forecast.mean[0, -1] / prices[60, 0] - 1
    assert features.values[60, 0] == pytest.approx(change, rel=1e-6)


def test_an_unknown_fallback_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="momentum, sprout"):
        how(store_at(tmp_path), fallback="naive")


def test_a_remote_that_does_not_answer_is_told_and_nothing_fails(tmp_path):
    features = build_forecast_features(
        prices_of(), DATES, ITEMS, "lstm", how(store_at(tmp_path), sync=Remote(None, broken=True))
    )
    assert set(features.sources) == {"momentum"}
    assert any("does not answer" in warning for warning in features.warnings)


def test_a_snapshot_that_cannot_forecast_so_far_says_so(tmp_path):
    pytest.importorskip("torch", reason="needs the networks extra")
    store = store_at(tmp_path)
    publish_snapshot(store, 2019)
    with pytest.raises(InvalidRequest, match="30"):
        build_forecast_features(prices_of(), DATES, ITEMS, "lstm", how(store, horizon=31))


@pytest.mark.parametrize(
    ("prices", "dates", "error", "words"),
    [
        (np.ones((9, 2)), DATES[:9], InvalidRequest, "shape"),
        (np.ones((8, 3)), DATES[:9], InvalidRequest, "shape"),
        (np.ones((9, 3)), DATES[:9][::-1], InvalidRequest, "increase"),
        (np.full((9, 3), np.inf), DATES[:9], BadData, "infinite"),
        (np.ones((2, 3)), DATES[:2], InvalidRequest, "fewer than 3"),
        (np.ones((4, 3)), DATES[[0, 1, 3, 4]] + [0, 0, 2, 0], InvalidRequest, "regular step"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, prices, dates, error, words):
    with pytest.raises(error, match=words):
        build_forecast_features(prices, dates, ITEMS, "lstm", how(store_at(tmp_path)))
