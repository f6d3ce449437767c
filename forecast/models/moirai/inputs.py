"""Lays series out as the authors' code reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from forecast.core.types import CovariateArray, FloatArray, Series
from forecast.models.base.scaling import Scaler, pad_start, standardize
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import rounded_up


class Sizes(NamedTuple):
    """Numbers of channels C, of covariates known ahead F, and of the others K."""

    channels: int
    known_ahead: int
    past_only: int

    @classmethod
    def of(cls, series: Series) -> Self:
        """Count what a series has."""
        known = len(series.future_covariates)
        return cls(series.num_channels, known, len(series.past_covariates) - known)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """B contexts of T steps and what is known beside them, standardised, each for itself.

    Attributes:
        tensors: arguments of the library's forecasters: [B, time, .], time being T, or T + H
            of what is known ahead.
        scaler: of the targets, [B, C, 1].
    """

    tensors: dict[str, torch.Tensor]
    sizes: Sizes
    steps: int
    scaler: Scaler[FloatArray]

    @classmethod
    def of(cls, batch: Sequence[Series], steps: int, horizon: int, device: torch.device) -> Self:
        """Lay out series of one layout.

        Args:
            steps: T, to which a shorter context is padded at its start.
        """
        observed_from = [int((~np.isnan(one.target).all(axis=0)).argmax()) for one in batch]
        known = [one.last(one.length - at) for one, at in zip(batch, observed_from, strict=True)]
        targets = [pad_start(one.target, steps) for one in known]
        scaler = Scaler.of(np.stack(targets))
        sizes = Sizes.of(batch[0])
        tensors = _pair("past_target", "past_observed_target", np.stack(targets))
        tensors["past_is_pad"] = np.stack([_is_pad(one.length, steps) for one in known])
        if sizes.known_ahead:
            ahead = np.stack([_known_ahead(one, steps, horizon) for one in known])
            tensors |= _pair("feat_dynamic_real", "observed_feat_dynamic_real", ahead)
        if sizes.past_only:
            past = np.stack([_past_only(one, steps) for one in known])
            names = ("past_feat_dynamic_real", "past_observed_feat_dynamic_real")
            tensors |= _pair(*names, past)
        on_device = {name: torch.from_numpy(of).to(device) for name, of in tensors.items()}
        return cls(on_device, sizes, steps, scaler)

    def forecaster(self, forecaster: Any, module: Any, horizon: int, **more: Any) -> Any:
        """Build one of the library's forecasters, around a module, for these inputs."""
        return forecaster(
            module=module,
            prediction_length=horizon,
            context_length=self.steps,
            target_dim=self.sizes.channels,
            feat_dynamic_real_dim=self.sizes.known_ahead,
            past_feat_dynamic_real_dim=self.sizes.past_only,
            **more,
        )

    def restored(self, forecast: FloatArray) -> FloatArray:
        """Bring forecasts [B, C, Q, H] back to their units."""
        return self.scaler.restore(forecast)


def inputs_of_windows(batch: Batch, patch: int) -> Inputs:
    """Lay out training windows; no covariate is known ahead of another."""
    steps = rounded_up(batch.past.shape[-1], patch)
    lacking = (steps - batch.past.shape[-1], 0)
    pad = torch.nn.functional.pad
    observed = pad(batch.past_observed, lacking)  # [B, C, T]
    tensors = {
        "past_target": pad(batch.past, lacking).transpose(1, 2),
        "past_observed_target": observed.transpose(1, 2),
        "past_is_pad": observed.any(dim=1).cummax(dim=-1).values.logical_not(),
    }
    sizes = Sizes(batch.past.shape[1], 0, batch.past_covariates.shape[1])
    if sizes.past_only:
        covariates = pad(batch.past_covariates, lacking).transpose(1, 2)
        there = tensors["past_is_pad"].logical_not()[..., None].expand_as(covariates)
        tensors["past_feat_dynamic_real"] = covariates
        tensors["past_observed_feat_dynamic_real"] = there
    none = np.empty((len(batch.past), 0, 1))
    return Inputs(tensors, sizes, steps, Scaler(none, none))


def _pair(name: str, observed_name: str, values: FloatArray) -> dict[str, Any]:
    """Standardise rows [B, V, time], and give them and where they were observed, time first."""
    standard, _ = standardize(values)
    return {
        name: np.ascontiguousarray(imputed(standard).transpose(0, 2, 1), dtype=np.float32),
        observed_name: np.ascontiguousarray(~np.isnan(values).transpose(0, 2, 1)),
    }


def imputed(values: FloatArray) -> FloatArray:
    """Fill a gap with the mean of what was observed before it, as in the authors' training.

    Args:
        values: [..., time]; before the first observed value of a row stands that value, and 0
            in a row without any.
    """
    seen = ~np.isnan(values)
    total = np.cumsum(np.where(seen, values, 0.0), axis=-1)
    mean = total / np.maximum(np.cumsum(seen, axis=-1), 1)
    first = np.take_along_axis(values, seen.argmax(axis=-1)[..., None], axis=-1)
    before = np.where(np.cumsum(seen, axis=-1) > 0, mean, np.nan_to_num(first))
    filled: FloatArray = np.where(seen, values, before)
    return filled


def _known_ahead(series: Series, steps: int, horizon: int) -> FloatArray:
    """Join past and future of what is known ahead: [F, T + H]."""
    names = sorted(series.future_covariates)
    past = np.stack([_numbers(series.past_covariates[name]) for name in names])
    future = np.stack([_numbers(series.future_covariates[name])[:horizon] for name in names])
    return np.concatenate([pad_start(past, steps), future], axis=1)


def _past_only(series: Series, steps: int) -> FloatArray:
    """Stack the covariates that are not known ahead: [K, T]."""
    names = sorted(series.past_covariates.keys() - series.future_covariates.keys())
    return pad_start(np.stack([_numbers(series.past_covariates[n]) for n in names]), steps)


def _numbers(values: CovariateArray) -> FloatArray:
    return np.asarray(values, dtype=float)


def _is_pad(length: int, steps: int) -> Any:
    return np.arange(steps) < steps - length
