"""The parts of uni2ts that are used, imported without what it does beside that.

It imports jax, some 380 MB, for the name of one type annotation; and it reads a `.env` file,
from whichever folder above has one, into the environment of the process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dotenv
import jaxtyping


class _AnyTree:
    """Stands for `jaxtyping.PyTree`, which is used in annotations only."""

    def __class_getitem__(cls, key: Any) -> Any:
        return cls


def _read_nothing(*args: object, **options: object) -> bool:  # noqa: ARG001
    """Stand for `dotenv.load_dotenv`."""
    return True


@contextmanager
def _without_its_side_effects() -> Iterator[None]:
    load = dotenv.load_dotenv
    setattr(jaxtyping, "PyTree", _AnyTree)  # noqa: B010 -- mypy knows the other one
    setattr(dotenv, "load_dotenv", _read_nothing)  # noqa: B010
    try:
        yield
    finally:
        del jaxtyping.PyTree
        setattr(dotenv, "load_dotenv", load)  # noqa: B010


with _without_its_side_effects():
    from uni2ts import distribution
    from uni2ts.model.moirai import MoiraiForecast, MoiraiModule
    from uni2ts.model.moirai.module import decode_distr_output
    from uni2ts.model.moirai2 import Moirai2Forecast, Moirai2Module
    from uni2ts.model.moirai_moe import MoiraiMoEForecast, MoiraiMoEModule

__all__ = [
    "Moirai2Forecast",
    "Moirai2Module",
    "MoiraiForecast",
    "MoiraiMoEForecast",
    "MoiraiMoEModule",
    "MoiraiModule",
    "decode_distr_output",
    "distribution",
]
