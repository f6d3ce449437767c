"""The parts of granite-tsfm that are used, imported without what it does beside that."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def _logging_untouched() -> Iterator[None]:
    """Undo `logging.basicConfig(level=INFO)`, which the library calls as it is imported."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


with _logging_untouched():
    from tsfm_public.models.tinytimemixer.configuration_tinytimemixer import TinyTimeMixerConfig
    from tsfm_public.models.tinytimemixer.modeling_tinytimemixer import (
        TinyTimeMixerForDecomposedPrediction,
        TinyTimeMixerForPrediction,
    )

transformers_logging.disable_progress_bar()  # a bar a load

__all__ = [
    "TinyTimeMixerConfig",
    "TinyTimeMixerForDecomposedPrediction",
    "TinyTimeMixerForPrediction",
]
