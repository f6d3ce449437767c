"""Lays series and training windows out as the network reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from forecast.core.types import CovariateArray, FloatArray, Series
from forecast.models.base.features import Features
from forecast.models.base.fixed_window import Block, Shape
from forecast.models.base.scaling import left_padded, standardisation
from forecast.models.base.windows import Windows
from forecast.models.ttm.network import FREQUENCY_TOKENS

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """R contexts, each of C channels to forecast and then K covariates.

    Attributes:
        past: [R, C + K, T], standardised, NaN where nothing was observed.
        ahead: [R, F, H] of the first F covariates; beyond what is known it is 0, their mean.
        tokens: [R] of the frequency.
        level: [R, C, 1], what forecasts are to be moved by, after
        scale: [R, C, 1], what they are to be stretched by; 0 of a constant.
    """

    past: FloatArray
    ahead: FloatArray
    tokens: Tokens
    level: FloatArray
    scale: FloatArray

    @classmethod
    def of(
        cls, batch: Sequence[Series], steps: int, horizon: int, features: Features | None
    ) -> Self:
        """Lay out a row a series, its channels and covariates read together.

        Args:
            steps: T; of a longer series the last are taken, a shorter one is padded.
            horizon: H.
            features: names and scales of the covariates; None where there are none.
        """
        target = np.stack([left_padded(series.target[:, -steps:], steps) for series in batch])
        level, scale = standardisation(target)
        beside = np.stack([_past_covariates(series, features, steps) for series in batch])
        return cls(
            past=np.concatenate([(target - level) / _divisor(scale), beside], axis=1),
            ahead=np.stack([_ahead(series, features, horizon) for series in batch]),
            tokens=np.array([frequency_token(series) for series in batch]),
            level=level,
            scale=scale,
        )

    def apart(self) -> Self:
        """Give each channel a row of its own, where there are no covariates."""
        channels = self.past.shape[1]
        return replace(
            self,
            past=self.past.reshape(-1, 1, self.past.shape[2]),
            ahead=np.repeat(self.ahead, channels, axis=0),
            tokens=np.repeat(self.tokens, channels),
            level=self.level.reshape(-1, 1, 1),
            scale=self.scale.reshape(-1, 1, 1),
        )

    def restored(self, answer: Block, horizon: int) -> tuple[FloatArray, FloatArray | None]:
        """Bring a forecast of these contexts, or of them apart, back to their units.

        Returns:
            mean [R, C, H], quantiles [R, C, Q, H] where there are any.
        """
        shape = self.level.shape[:2]
        mean = _numbers(answer.mean.cpu().numpy())[..., :horizon].reshape(*shape, -1)
        if answer.quantiles is None:
            return mean * self.scale + self.level, None
        quantiles = _numbers(answer.quantiles.cpu().numpy())[..., :horizon]
        quantiles = quantiles.reshape(*shape, *quantiles.shape[2:])
        return (
            mean * self.scale + self.level,
            quantiles * self.scale[:, :, None] + self.level[:, :, None],
        )


def frequency_token(series: Series) -> int:
    """Number a frequency as the authors do; 0 for those that they do not number."""
    if series.freq is None:
        return 0
    return FREQUENCY_TOKENS.get(series.freq.alias.partition("-")[0], 0)


def covariate_order(features: Features | None) -> tuple[str, ...]:
    """Order covariates as the network reads them: those known ahead come first."""
    if features is None:
        return ()
    rest = (name for name in features.covariates if name not in features.known_ahead)
    return (*features.known_ahead, *rest)


def windows_of(
    series: Sequence[Series], shape: Shape, features: Features | None, stride: int
) -> Windows:
    """Cut training windows of series, each channel standardised by the whole of its series."""
    return Windows(
        [_standardised(one, features) for one in series],
        context_length=shape.context_length,
        horizon=shape.block,
        stride=stride,
        known_ahead=features.known_ahead if features else (),
    )


def _standardised(series: Series, features: Features | None) -> Series:
    level, scale = standardisation(series.target)
    scales = features.covariates if features else {}
    past = {name: own.apply(_numbers(series.past_covariates[name])) for name, own in scales.items()}
    target = (series.target - level) / _divisor(scale)
    return replace(series, target=target, past_covariates=past, future_covariates={})


def _past_covariates(series: Series, features: Features | None, steps: int) -> FloatArray:
    """Standardise the past of the covariates: [K, T]."""
    scales = features.covariates if features else {}
    rows = [
        scales[name].apply(_numbers(series.past_covariates[name]))
        for name in covariate_order(features)
    ]
    stacked = np.array(rows, dtype=float).reshape(len(rows), series.length)
    return left_padded(stacked[:, -steps:], steps)


def _ahead(series: Series, features: Features | None, horizon: int) -> FloatArray:
    """Standardise what is known ahead: [F, H]; what is missing is 0."""
    names = features.known_ahead if features else ()
    found = np.zeros((len(names), horizon))
    for row, name in zip(found, names, strict=True):
        assert features is not None
        values = features.covariates[name].apply(_numbers(series.future_covariates[name]))
        row[: len(values)] = np.nan_to_num(values)[:horizon]
    return found


def _numbers(values: CovariateArray) -> FloatArray:
    return np.asarray(values, dtype=float)


def _divisor(scale: FloatArray) -> FloatArray:
    divisor: FloatArray = np.where(scale > 0, scale, 1.0)
    return divisor
