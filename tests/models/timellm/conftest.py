"""A tiny GPT-2 with a tokenizer learned here, in the layout of a published one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("neuralforecast")

from forecast.models.timellm.tiny import write_tiny_language_model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    write_tiny_language_model(folder)
    return folder
