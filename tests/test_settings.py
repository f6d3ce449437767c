"""Settings are read from the environment, bounded, and listed in the documentation."""

import re
from pathlib import Path

import pytest

from forecast.settings import (
    Settings,
    fields,
    groups,
    read_settings,
    unknown_variables,
    variables_of,
)
from forecast.wiring.shared import data_policy

OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for variables in variables_of().values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)


def test_without_an_environment_the_defaults_count():
    settings = read_settings()
    assert (settings.address, settings.port, settings.home) == (
        "127.0.0.1",
        8000,
        Path(".forecast"),
    )
    assert settings.api_key is None
    assert data_policy(settings).data_roots == (Path(".forecast/data"),)
    assert settings.local_folders == (Path(".forecast/models"),)


@pytest.mark.parametrize(
    ("variable", "value", "name", "read"),
    [
        ("FORECAST_PORT", "9000", "port", 9000),
        ("MODEL_PORT", "9001", "port", 9001),
        ("MODEL_NAME", "chronos", "model_name", "chronos"),
        ("FORECAST_INLINE", "all", "inline", ("all",)),
        ("FORECAST_INLINE", "none", "inline", ()),
        ("FORECAST_MODELS", "a, b,", "models", ("a", "b")),
        ("FORECAST_MODELS", '["a", "b"]', "models", ("a", "b")),
        ("FORECAST_DATA_ROOTS", "/a,/b", "data_roots", (Path("/a"), Path("/b"))),
        ("FORECAST_HOSTS", '{"a": "http://b:1"}', "hosts", {"a": "http://b:1"}),
        ("FORECAST_PYTHON__MOIRAI", "/opt/py", "python", {"moirai": Path("/opt/py")}),
        ("FORECAST_MODEL_REPLICAS__CHRONOS", "2", "model_replicas", {"chronos": 2}),
        ("FORECAST_HOSTS__A", "http://b:1", "hosts", {"a": "http://b:1"}),
        ("FORECAST_ALLOW_PRIVATE_URLS", "true", "allow_private_urls", True),
        ("HF_ENDPOINT", "http://mirror", "hf_endpoint", "http://mirror"),
        ("MLFLOW_TRACKING_URI", "http://m", "mlflow_tracking_uri", "http://m"),
        ("FORECAST_PORT", "", "port", 8000),
    ],
)
def test_a_variable_sets_its_field(monkeypatch, variable, value, name, read):
    monkeypatch.setenv(variable, value)
    settings = read_settings()
    holders = [settings, *(getattr(settings, group) for group in groups())]
    (holder,) = [one for one in holders if name in type(one).model_fields]
    assert getattr(holder, name) == read


def test_the_first_of_two_variables_wins_and_the_command_line_over_both(monkeypatch):
    monkeypatch.setenv("MODEL_PORT", "1")
    monkeypatch.setenv("FORECAST_PORT", "2")
    assert read_settings().port == 2
    assert read_settings(port=3).port == 3
    assert read_settings(port=None).port == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FORECAST_PORT", "-1"),
        ("FORECAST_MAX_BODY_BYTES", "0"),
        ("FORECAST_MAX_QUEUE", "0"),
        ("FORECAST_TIMEOUT_S", "0"),
        ("FORECAST_TIMEOUT_S", "inf"),
        ("FORECAST_TIMEOUT_S", "nan"),
        ("FORECAST_MODEL_REPLICAS__CHRONOS", "0"),
        ("FORECAST_LOG_LEVEL", "loud"),
        ("FORECAST_MODELS", "[1"),
    ],
)
def test_a_bad_value_names_its_variable(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=variable.partition("__")[0]):
        read_settings()


def test_what_is_given_wins_over_the_environment_in_a_group_too(monkeypatch):
    monkeypatch.setenv("FORECAST_MAX_POINTS", "7")
    monkeypatch.setenv("FORECAST_MAX_SERIES", "3")
    for given in ({"max_points": 5}, {"data": {"max_points": 5}}):
        data = Settings(**given).data
        assert (data.max_points, data.max_series) == (5, 3)


def test_no_two_groups_have_a_field_of_the_same_name():
    names = [name for group in groups().values() for name in group.model_fields]
    own = [name for name in Settings.model_fields if name not in groups()]
    assert len(fields()) == len(names) + len(own)


def test_a_secret_is_never_shown(monkeypatch):
    monkeypatch.setenv("FORECAST_API_KEY", "key-of-the-test")
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    assert "of" not in repr(read_settings().api_key)
    assert not re.search(r"key-of-the-test|hf_of_the_test", repr(read_settings()))


def test_a_variable_that_sets_nothing_is_found():
    names = [
        "FORECAST_HOST",
        "FORECAST_PORT",
        "FORECAST_PYTHON__MOIRAI",
        "FORECAST_HF_TOKEN",
        "HF_TOKEN",
        "PATH",
    ]
    assert unknown_variables(names) == ["FORECAST_HOST"]


def rows() -> dict[str, list[str]]:
    """The settings table of the documentation: first cell → the other cells."""
    lines = OPERATIONS.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {
        row[0].strip("` "): row[1:]
        for row in cells
        if len(row) == 3 and row[0].startswith("`FORECAST_")
    }


def test_the_documentation_lists_every_setting_with_its_default_and_no_other():
    table = rows()
    assert set(table) == {variables[0] for variables in variables_of().values()}
    for name, field in fields().items():
        default, description = table[variables_of()[name][0]]
        assert default.strip("` ") == shown(field.get_default(call_default_factory=True)), name
        assert description == described(name)


def shown(default: object) -> str:
    if default is None or default in ((), {}):
        return ""
    return str(default).lower() if isinstance(default, bool) else f"{default}"


def described(name: str) -> str:
    """What the row of a field says: its description, and the variables that set it too."""
    others = variables_of()[name][1:]
    text = fields()[name].description
    return text + "".join(f" Also `{other}`." for other in others)
