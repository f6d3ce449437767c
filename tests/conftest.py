"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--spec", help="run the contract suite on the model of this spec, package.module:NAME"
    )
