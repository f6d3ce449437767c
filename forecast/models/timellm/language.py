"""Reads a language model from a folder; safetensors, JSON and text only, no code from outside."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from forecast.core.errors import BadData

transformers_logging.disable_progress_bar()  # a bar a load

_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
_CONFIGS = ("config.json", "tokenizer_config.json")
_UNREADABLE = (AttributeError, KeyError, OSError, RuntimeError, SafetensorError, TypeError)


class LanguageModel(NamedTuple):
    """A frozen transformer of tokens, without a head, and what makes tokens of text."""

    model: Any
    tokenizer: Any

    @property
    def width(self) -> int:
        """Size of a token's embedding."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def vocabulary(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def longest(self) -> int:
        """Tokens that it reads at most."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2048)

    def write(self, folder: Path) -> None:
        """Write what `load_language_model` reads, with the layers that are used."""
        folder.mkdir()
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_language_model(folder: Path, layers: int, device: torch.device) -> LanguageModel:
    """Load the first layers of a language model as its authors publish it, in float32.

    Raises:
        BadData: the folder holds none, an incomplete one, or one that needs pickle or code of
            its own.
    """
    _refuse_what_cannot_be_read(folder)
    here = {"trust_remote_code": False, "local_files_only": True}
    with _fewer_messages():
        try:
            config = AutoConfig.from_pretrained(folder, **here)
            config.num_hidden_layers = min(layers, config.num_hidden_layers)
            tokenizer = AutoTokenizer.from_pretrained(folder, **here)
            model, found = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                attn_implementation="sdpa",  # a config could name a kernel to be downloaded
                output_loading_info=True,
                **here,
            )
        except (*_UNREADABLE, ValueError) as error:
            raise BadData(
                "this is no language model that can be read: a transformer with its tokenizer is"
                " expected, in the layout of transformers, such as hf:openai-community/gpt2"
            ) from error
    if missing := sorted(found["missing_keys"]):
        raise BadData(f"the language model lacks {len(missing)} weights, such as {missing[0]}")
    language = LanguageModel(model.requires_grad_(False).eval().to(device), tokenizer)
    if len(tokenizer) > language.vocabulary:
        raise BadData("the tokenizer makes tokens that the language model does not know")
    return language


def _refuse_what_cannot_be_read(folder: Path) -> None:
    if not any(folder.glob("*.safetensors")):
        raise BadData(
            "the folder holds no language model in safetensors; Time-LLM is trained on top of"
            " one, such as hf:openai-community/gpt2"
        )
    if not any(file for pattern in _TOKENIZERS for file in folder.glob(pattern)):
        # the library would make up an empty one
        raise BadData("the language model comes without its tokenizer, such as tokenizer.json")
    for name in _CONFIGS:
        try:
            content = json.loads((folder / name).read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise BadData(f"{name} of the language model cannot be read") from error
        if not isinstance(content, dict) or "auto_map" in content:
            raise BadData("the language model brings code of its own, which is never run")


@contextmanager
def _fewer_messages() -> Iterator[None]:
    """Keep the report of layers that are left out, on purpose, off the log."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
