"""The loss of TS2Vec: two crops of a window agree where they overlap, at every scale."""

from typing import NamedTuple

import torch
from torch.nn import functional

_ONE_EACH = 0.5  # the weight of the contrast between series; the rest is that between times


class Crops(NamedTuple):
    """Where two overlapping crops of each window lie (arXiv:2106.10466, section 2.2).

    Attributes:
        starts: [B] each, of the first and the second crop.
        lengths: of the two; equal for all windows.
        overlap: steps that end the first crop and begin the second.
    """

    starts: tuple[torch.Tensor, torch.Tensor]
    lengths: tuple[int, int]
    overlap: int

    @classmethod
    def draw(cls, batch: int, steps: int) -> "Crops":
        """Draw crops of windows of `steps` from torch's generator."""
        overlap = _between(2, steps)
        left = _between(0, steps - overlap)
        right = left + overlap
        before, after = _between(0, left), _between(right, steps)
        offset = torch.randint(-before, steps - after + 1, (batch,))
        return cls((offset + before, offset + left), (right - before, after - left), overlap)


def _between(least: int, most: int) -> int:
    return int(torch.randint(least, most + 1, ()))


def cropped(values: torch.Tensor, starts: torch.Tensor, length: int) -> torch.Tensor:
    """Cut [B, ..., T] to `length` steps from each window's own start."""
    index = starts.to(values.device)[:, None] + torch.arange(length, device=values.device)
    shape = (len(values), *[1] * (values.dim() - 2), length)
    wanted = index.view(shape).expand(*values.shape[:-1], length)
    return values.gather(-1, wanted)


def hierarchical_contrast(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Average the contrasts over scales, each of half the steps of the one before.

    Args:
        one: [B, T, D], the overlap in the first crop; `other` the same in the second.
    """
    losses = []
    while one.shape[1] > 1:
        between_times = _contrast(one, other)
        between_series = _contrast(one.transpose(0, 1), other.transpose(0, 1))
        losses.append(_ONE_EACH * between_series + (1 - _ONE_EACH) * between_times)
        one, other = _halved(one), _halved(other)
    losses.append(_ONE_EACH * _contrast(one.transpose(0, 1), other.transpose(0, 1)))
    return torch.stack(losses).mean()


def _halved(values: torch.Tensor) -> torch.Tensor:
    return functional.max_pool1d(values.transpose(1, 2), 2).transpose(1, 2)


def _contrast(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Tell each row's partner in the other crop from the other rows of both (eq. 1 and 2).

    Args:
        one: [G, N, D], G groups of N rows to tell apart.
    """
    count = one.shape[1]
    if count == 1:
        return one.new_zeros(())
    rows = torch.cat([one, other], dim=1)  # [G, 2N, D]
    likeness = rows @ rows.transpose(1, 2)  # [G, 2N, 2N]
    itself = torch.eye(2 * count, dtype=torch.bool, device=rows.device)
    partner = torch.arange(2 * count, device=rows.device).roll(count)
    logits = likeness.masked_fill(itself, -torch.inf)
    return functional.cross_entropy(logits.flatten(0, 1), partner.repeat(len(rows)))
