"""What importing the library does, and does no longer, beside that."""

import sys

import dotenv
import pytest

pytest.importorskip("uni2ts", reason="its own environment has it: ./setup.sh env moirai")

import jaxtyping

import forecast.models.moirai.library  # noqa: F401


def test_jax_is_not_imported():
    assert "jax" not in sys.modules


def test_what_stood_in_while_it_was_imported_is_gone():
    assert "PyTree" not in vars(jaxtyping)
    assert dotenv.load_dotenv.__module__.startswith("dotenv")
