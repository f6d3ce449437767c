"""Learning the head of a trained encoder from windows, and choosing its penalties."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecast.core.errors import BadData
from forecast.core.types import FloatArray
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.scaling import interpolate
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import WindowBatch, Windows
from forecast.models.ts2vec.forecaster import Forecaster, scaler_of
from forecast.models.ts2vec.ridge import Ridge, choose_alphas

_MOST_WINDOWS = 20_000
_BATCH = 64
_FAR = 100.0  # levels of a window that its future may be away


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What the head learns from: representations [N, D], and what came after [N, M].

    M is channels encoded together times steps ahead, in units of the level of each window.
    """

    representations: FloatArray
    futures: FloatArray

    @classmethod
    def of(cls, network: Forecaster, windows: Windows, device: torch.device) -> "Examples":
        """Encode windows; of more than 20 000, so many that are evenly spread.

        One that hardly moves before a jump would outweigh all others, and is left out.
        """
        made = [_encode(network, windows, some, device) for some in _spread(len(windows))]
        found, futures = (np.concatenate(parts) for parts in zip(*made, strict=True))
        near = np.abs(futures).max(axis=1) <= _FAR
        return cls(found[near], futures[near]) if near.any() else cls(found, futures)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A head, and how well it did on windows that it was not solved for.

    Attributes:
        alphas: [M], the penalty of each output.
        scores: mean squared and absolute error, relative to the level of windows.
    """

    alphas: FloatArray
    scores: dict[str, float]


def fit_head(network: Forecaster, learn: Examples, choose: Examples) -> Fit:
    """Solve for the head on `learn`, with the penalties that do best on `choose`."""
    ridge = Ridge.of(learn.representations, learn.futures)
    alphas = choose_alphas(ridge, choose.representations, choose.futures, network.config.horizon)
    weight, bias = ridge.solve(alphas)
    _set(network, weight, bias)
    errors = choose.representations @ weight + bias - choose.futures
    scores = {"head_mse": float((errors**2).mean()), "head_mae": float(np.abs(errors).mean())}
    return Fit(alphas, scores)


def solve_again(network: Forecaster, learn: Examples, alphas: FloatArray) -> None:
    """Solve for the head on other windows, with penalties chosen before."""
    _set(network, *Ridge.of(learn.representations, learn.futures).solve(alphas))


def calibration_of(
    network: Forecaster, windows: Windows, device: torch.device
) -> ConformalCalibration:
    """Learn how far off the head is at each step, relative to the spread of the context."""

    @torch.no_grad()
    def forecast(windows: WindowBatch) -> FloatArray:
        batch = Batch.of(windows, device)
        made = network.forecast(batch.past, batch.past_observed, batch.past_covariates)
        points: FloatArray = made[:, :, None].cpu().double().numpy()
        return points

    try:
        return ConformalCalibration.from_windows(windows, forecast, _BATCH, per_channel=True)
    except BadData:  # nothing in the series ever changes
        return ConformalCalibration.assumed(windows.horizon)


def _set(network: Forecaster, weight: FloatArray, bias: FloatArray) -> None:
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(weight.T.copy()))
        network.head.bias.copy_(torch.from_numpy(bias))


def _spread(count: int, most: int = _MOST_WINDOWS) -> list[npt.NDArray[np.int64]]:
    chosen = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
    return [chosen[start : start + _BATCH] for start in range(0, len(chosen), _BATCH)]


@torch.no_grad()
def _encode(
    network: Forecaster, windows: Windows, some: npt.NDArray[np.int64], device: torch.device
) -> tuple[FloatArray, FloatArray]:
    batch = Batch.of(windows.take(some), device)
    scaler = scaler_of(network.config, batch.past, batch.past_observed)
    future = scaler.apply(_complete(batch))  # [B, C, H]
    found = network.last(batch.past, batch.past_observed, batch.past_covariates)
    outputs = future.reshape(len(found), -1)
    return found.cpu().double().numpy(), outputs.cpu().double().numpy()


def _complete(batch: Batch) -> torch.Tensor:
    """Fill gaps of the future on a straight line from the last observed step: [B, C, H]."""
    if bool(batch.future_observed.all()):
        return batch.future
    whole = torch.cat([batch.past, batch.future], dim=-1).cpu().numpy()
    seen = torch.cat([batch.past_observed, batch.future_observed], dim=-1).cpu().numpy()
    known = np.where(seen | ~seen.any(axis=-1, keepdims=True), whole, np.nan)
    future = interpolate(known)[..., batch.past.shape[-1] :]
    return torch.from_numpy(np.ascontiguousarray(future)).to(batch.future.device)
