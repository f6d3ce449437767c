"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--spec", help="run the contract suite on the model of this spec, package.module:NAME"
    )
    parser.addoption(
        "--environment",
        default="shared",
        help="run the contract suite on the models of this environment, with its interpreter",
    )
