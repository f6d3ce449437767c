"""The automatic choice is the documented one."""

import pytest
from pydantic import ValidationError

from forecast.models.statistical.choice import FEWEST, choose
from forecast.models.statistical.spec import StatisticalOptions

AUTO = StatisticalOptions()


@pytest.mark.parametrize(
    ("length", "usual", "method", "seasons"),
    [
        (4, (12,), "naive", ()),
        (5, (12,), "auto", ()),
        (24, (12,), "auto", (12,)),
        (100, (24, 168), "auto", (24,)),
        (336, (24, 168), "auto", (24, 168)),
    ],
)
def test_auto_combines_from_five_steps_on(length, usual, method, seasons):
    choice = choose(AUTO, length, usual)
    assert (choice.method, choice.seasons) == (method, seasons)


@pytest.mark.parametrize("name", sorted(FEWEST))
def test_too_short_a_history_gets_something_simpler_and_says_so(name):
    choice = choose(StatisticalOptions(model=name), 2, (12,))
    assert choice.method == "naive"
    assert bool(choice.warnings) == (name != "naive")


def test_a_season_that_is_not_held_twice_is_left_out_and_named():
    choice = choose(StatisticalOptions(model="auto_ets"), 20, (12,))
    assert (choice.method, choice.seasons) == ("auto_ets", ())
    assert "two seasons of 12 steps" in choice.warnings[0]


def test_the_seasonal_naive_needs_one_season_only():
    options = StatisticalOptions(model="seasonal_naive")
    assert choose(options, 12, (12,)).method == "seasonal_naive"
    assert choose(options, 11, (12,)).method == "naive"


def test_nobody_is_warned_of_a_second_season_he_did_not_ask_for():
    assert choose(AUTO, 100, (24, 168)).warnings == ()
    asked = choose(StatisticalOptions(season_lengths=(24, 168)), 100, ())
    assert "168" in asked.warnings[0]


def test_the_options_win_over_the_frequency():
    assert choose(StatisticalOptions(season_length=4), 40, (12,)).seasons == (4,)
    assert choose(StatisticalOptions(season_length=1), 40, (12,)).seasons == ()
    assert choose(StatisticalOptions(season_lengths=(10, 5)), 40, (12,)).seasons == (5, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"season_length": 12, "season_lengths": (12,)},
        {"model": "auto_ets", "season_lengths": (7, 365)},
        {"season_lengths": ()},
        {"season_length": 0},
        {"model": "prophet"},
        {"seasonlength": 12},
    ],
)
def test_options_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        StatisticalOptions(**wrong)


def test_options_are_hashable():
    assert hash(StatisticalOptions(season_lengths=[7, 365])) == hash(
        StatisticalOptions(season_lengths=(7, 365))
    )
