"""What the language model is told in words of each context, before its patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Prompts:
    """Words of neuralforecast's Time-LLM, with numbers of four digits.

    All digits of a float would make another prompt, and so another forecast, of a difference
    in rounding.
    """

    horizon: int
    context_length: int
    num_lags: int
    domain: str

    def of(self, row: torch.Tensor) -> str:
        """Describe a context [T], relative to its own level."""
        trend = "upward" if float(row[-1] - row[0]) > 0 else "downward"
        return (
            f"<|start_prompt|>{self.domain}"
            f"Task description: forecast the next {self.horizon} steps given the previous"
            f" {self.context_length} steps information; "
            "Input statistics: "
            f"min value {float(row.min()):.4g}, "
            f"max value {float(row.max()):.4g}, "
            f"median value {float(row.median()):.4g}, "
            f"the trend of input is {trend}, "
            f"top {self.num_lags} lags are : {strongest_lags(row, self.num_lags)}<|<end_prompt>|>"
        )


def strongest_lags(row: torch.Tensor, count: int) -> list[int]:
    """Find the lags of the largest circular autocorrelation of [T], the largest first."""
    spectrum = torch.fft.rfft(row)
    correlation = torch.fft.irfft(spectrum * spectrum.conj(), n=len(row))
    lags: list[int] = correlation.topk(count).indices.tolist()
    return lags


def tokens_of(
    tokenizer: Any, prompts: Sequence[str], longest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make tokens, aligned at their ends, with a mask of what is no padding: [R, L] each.

    A prompt that is too long loses its beginning.
    """
    rows = [tokenizer(prompt, add_special_tokens=True).input_ids[-longest:] for prompt in prompts]
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
