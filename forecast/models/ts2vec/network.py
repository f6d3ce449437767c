"""The encoder of TS2Vec (Yue et al. 2022, arXiv:2106.10466, section 2 and appendix)."""

import torch
from torch import nn
from torch.nn import functional

_MASKED = 0.5  # share of the steps that training hides


class DilatedConv(nn.Conv1d):
    """A convolution of width 3 that keeps the length, padded with zeros."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__(inputs, outputs, 3, padding=dilation, dilation=dilation)

    def forward(self, values: torch.Tensor) -> torch.Tensor:  # [B, D, T]
        if self.dilation[0] >= values.shape[-1]:  # both sides see the padding alone
            return functional.conv1d(values, self.weight[..., 1:2], self.bias)
        widened: torch.Tensor = super().forward(values)
        return widened


class Block(nn.Module):
    """GELU and convolution, twice, beside a residual path."""

    def __init__(self, inputs: int, outputs: int, dilation: int, *, projected: bool) -> None:
        super().__init__()
        self.first = DilatedConv(inputs, outputs, dilation)
        self.second = DilatedConv(outputs, outputs, dilation)
        self.project = nn.Conv1d(inputs, outputs, 1) if projected else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        inner = self.first(functional.gelu(values))
        outer: torch.Tensor = self.project(values) + self.second(functional.gelu(inner))
        return outer


class Encoder(nn.Module):
    """A representation of every step of a window: a projection, a mask, dilated convolutions.

    Args:
        inputs: rows of a window: channels, and the covariates beside them.
        depth: blocks of `hidden` rows before the last, of `outputs` rows.
    """

    def __init__(
        self, inputs: int, *, hidden: int, depth: int, outputs: int, dropout: float
    ) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, hidden)
        self.blocks = nn.Sequential(
            *(Block(hidden, hidden, 2**level, projected=False) for level in range(depth)),
            Block(hidden, outputs, 2**depth, projected=True),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Represent windows; in training, random steps are hidden.

        Args:
            rows: [B, D, T].
            observed: [B, T], the steps at which anything was.

        Returns:
            [B, T, outputs].
        """
        if self.training:
            observed = observed & (torch.rand(observed.shape, device=observed.device) < _MASKED)
        projected = self.project(rows.transpose(1, 2)) * observed[..., None]
        encoded: torch.Tensor = self.dropout(self.blocks(projected.transpose(1, 2)))
        return encoded.transpose(1, 2)
