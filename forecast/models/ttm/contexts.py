"""Lays series and training windows out as the network reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from forecast.core.types import FloatArray, Series
from forecast.models.base.features import Features
from forecast.models.base.scaling import Scaler, pad_start, standardize
from forecast.models.base.torch.network_model import Block
from forecast.models.ttm.network import FREQUENCY_TOKENS

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """R contexts, each of C channels to forecast and then K covariates.

    Attributes:
        past: [R, C + K, T], standardised, NaN where nothing was observed.
        ahead: [R, F, H] of the first F covariates; beyond what is known it is 0, their mean.
        tokens: [R] of the frequency.
        scaler: of the targets, [R, C, 1].
    """

    past: FloatArray
    ahead: FloatArray
    tokens: Tokens
    scaler: Scaler[FloatArray]

    @classmethod
    def of(
        cls, batch: Sequence[Series], steps: int, horizon: int, features: Features | None
    ) -> Self:
        """Lay out a row a series, its channels and covariates read together.

        Args:
            steps: T; of a longer series the last are taken, a shorter one is padded.
            horizon: H.
            features: names of the covariates, which are standardised; None where there are none.
        """
        target = np.stack([pad_start(series.target[:, -steps:], steps) for series in batch])
        standard, scaler = standardize(target)
        order = covariate_order(features)
        beside = np.stack(
            [
                pad_start(_rows(one.past_covariates, order, one.length)[:, -steps:], steps)
                for one in batch
            ]
        )
        return cls(
            past=np.concatenate([standard, beside], axis=1),
            ahead=np.stack([_ahead(series, features, horizon) for series in batch]),
            tokens=np.array([frequency_token(series) for series in batch]),
            scaler=scaler,
        )

    def apart(self) -> Self:
        """Give each channel a row of its own, where there are no covariates."""
        channels = self.past.shape[1]
        return replace(
            self,
            past=self.past.reshape(-1, 1, self.past.shape[2]),
            ahead=np.repeat(self.ahead, channels, axis=0),
            tokens=np.repeat(self.tokens, channels),
            scaler=Scaler(
                self.scaler.center.reshape(-1, 1, 1), self.scaler.scale.reshape(-1, 1, 1)
            ),
        )

    def restored(self, answer: Block, horizon: int) -> tuple[FloatArray, FloatArray | None]:
        """Bring a forecast of these contexts, or of them apart, back to their units.

        Returns:
            mean [R, C, H], quantiles [R, C, Q, H] where there are any.
        """
        shape = self.scaler.center.shape[:2]
        mean = answer.mean.cpu().numpy()[..., :horizon].reshape(*shape, -1)
        if answer.quantiles is None:
            return self.scaler.restore(mean), None
        quantiles = answer.quantiles.cpu().numpy()[..., :horizon]
        quantiles = quantiles.reshape(*shape, *quantiles.shape[2:])
        return self.scaler.restore(mean), self.scaler.restore(quantiles)


def frequency_token(series: Series) -> int:
    """Number a frequency as the authors do; 0 for those that they do not number."""
    if series.freq is None:
        return 0
    return FREQUENCY_TOKENS.get(series.freq.alias.partition("-")[0], 0)


def covariate_order(features: Features | None) -> tuple[str, ...]:
    """Order covariates as the network reads them: those known for the future come first."""
    if features is None:
        return ()
    rest = (name for name in features.covariates if name not in features.known_ahead)
    return (*features.known_ahead, *rest)


def _rows(values: Mapping[str, Any], names: Sequence[str], steps: int) -> FloatArray:
    """Stack covariates in the order of `names`: [K, steps], also where K is 0."""
    rows = [np.asarray(values[name], dtype=float) for name in names]
    return np.array(rows).reshape(len(rows), steps)


def _ahead(series: Series, features: Features | None, horizon: int) -> FloatArray:
    """Stack the known covariates: [F, H]; what is missing is 0."""
    names = features.known_ahead if features else ()
    found = np.zeros((len(names), horizon))
    for row, name in zip(found, names, strict=True):
        values = np.asarray(series.future_covariates[name], dtype=float)
        row[: len(values)] = np.nan_to_num(values)[:horizon]
    return found
