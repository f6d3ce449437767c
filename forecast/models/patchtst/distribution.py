"""The distributions that a PatchTST may answer, with exact quantiles in place of samples."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import special
from torch.distributions import Distribution, Normal, StudentT

Parameters = tuple[torch.Tensor, ...]
"""Degrees of freedom (Student-t only), location and scale: [..., H] each."""


def mean_of(parameters: Parameters) -> torch.Tensor:
    """Give the location, which is the mean: the library keeps the degrees of freedom above 2."""
    return parameters[-2]


def quantiles_of(parameters: Parameters, levels: Sequence[float]) -> torch.Tensor:
    """Invert the distribution at Q levels: [..., Q, H]."""
    wanted = np.asarray(levels)[:, None]
    *shape, location, scale = (part.unsqueeze(-2) for part in parameters)
    if shape:
        freedom = shape[0].double().cpu().numpy()
        unit = torch.from_numpy(special.stdtrit(freedom, wanted)).to(location)
    else:
        unit = torch.from_numpy(special.ndtri(wanted)).to(location)
    return location + scale * unit


def negative_log_likelihood(parameters: Parameters, values: torch.Tensor) -> torch.Tensor:
    """Measure how unlikely values were: [..., H]."""
    kind: Callable[..., Distribution] = StudentT if len(parameters) == 3 else Normal
    likelihood: torch.Tensor = kind(*parameters, validate_args=False).log_prob(values)
    return -likelihood
