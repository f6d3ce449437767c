"""Options of the whole suite."""

import pytest
from hypothesis import settings

from tests.examples import QUICK, SLOW


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--spec", help="run the contract suite on the model of this spec, package.module:NAME"
    )
    parser.addoption(
        "--environment",
        default="shared",
        help="run the contract suite on the models of this environment, with its interpreter",
    )
    parser.addoption(
        "--slow",
        action="store_true",
        help="run the tests marked slow as well, and ten times the examples of each kind",
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(SLOW if config.getoption("--slow") else QUICK)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: a packed file holds the time, and workers must agree on ids."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow; --slow runs it"))
