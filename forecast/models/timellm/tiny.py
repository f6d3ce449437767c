"""A GPT-2 of two layers with made-up weights, in the layout of a published one."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

_END = "<|endoftext|>"
_TOKENS = 320
_TEXT = [
    "forecast the next steps given the previous steps information; Input statistics: min value",
    "max value median value the trend of input is upward downward top 5 lags are 0123456789.-",
]


def write_tiny_language_model(folder: Path, seed: int = 0, layers: int = 2) -> None:
    """Write config, weights and a tokenizer of byte pairs that was learned here."""
    _learned_tokenizer().save_pretrained(folder)
    config = GPT2Config(
        vocab_size=_TOKENS,
        n_positions=512,
        n_embd=16,
        n_layer=layers,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        GPT2Model(config).save_pretrained(folder)


def _learned_tokenizer() -> PreTrainedTokenizerFast:
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_TOKENS,
        special_tokens=[_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pairs.train_from_iterator(_TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=pairs, eos_token=_END, bos_token=_END)
