"""What a network was trained on: its channels and covariates, and the scale of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import FloatArray, Forecast, Series
from forecast.models.base.scaling import left_padded, standardisation
from forecast.models.base.windows import Mask

FEATURES_FILE = "features.json"


class Scale(BaseModel):
    """Mean and standard deviation of the observed training values; the latter 1 where flat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, values: Sequence[FloatArray]) -> Self:
        """Measure arrays of one unit together; what holds nothing observed stays as it is."""
        together = np.concatenate([np.where(np.isfinite(each), each, np.nan) for each in values])
        center, scale = (float(one[0]) for one in standardisation(together))
        return cls(center=center, scale=scale or 1.0)

    def apply(self, values: FloatArray) -> FloatArray:
        """Standardise; NaN stays NaN."""
        scaled: FloatArray = (values - self.center) / self.scale
        return scaled


class Contexts(NamedTuple):
    """N standardised series side by side; what is missing is 0.

    Attributes:
        past: [N, C, T] float32.
        observed: [N, C, T].
        past_covariates: [N, K, T] float32.
        future_covariates: [N, F, H] float32, of those known ahead.
    """

    past: FloatArray
    observed: Mask
    past_covariates: FloatArray
    future_covariates: FloatArray


class Features(BaseModel):
    """`features.json`, beside the weights: the names, their order and their scales.

    Measured on the training series alone, and never again: a fine-tuned network keeps those
    it was trained with.

    Attributes:
        channels: names of the C channels; empty where they had none.
        targets: C scales.
        covariates: scale of each numeric covariate, in the order the network reads them.
        known_ahead: those of them that are read over the horizon too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[str, ...] = ()
    targets: tuple[Scale, ...] = (Scale(),)
    covariates: dict[str, Scale] = {}
    known_ahead: tuple[str, ...] = ()

    @classmethod
    def of(cls, series: Sequence[Series], known_ahead: Sequence[str] = ()) -> Self:
        """Measure training series, all of one layout.

        Args:
            known_ahead: names known for the future, beside those that come with future values.

        Raises:
            InvalidRequest: a name of `known_ahead` is no covariate of the series.
        """
        first = series[0]
        names = sorted(first.past_covariates)
        known = sorted({*first.future_covariates, *known_ahead})
        if unknown := set(known) - set(names):
            raise InvalidRequest(
                f"known_ahead names {', '.join(sorted(unknown))}, which is no covariate of the"
                " series to learn from"
            )
        return cls(
            channels=first.channels,
            targets=tuple(
                Scale.of([one.target[channel] for one in series])
                for channel in range(first.num_channels)
            ),
            covariates={name: Scale.of([_numbers(one, name) for one in series]) for name in names},
            known_ahead=tuple(known),
        )

    @property
    def num_channels(self) -> int:
        return len(self.targets)

    def check_training(self, series: Sequence[Series]) -> None:
        """Refuse what a network that is trained further does not know.

        Raises:
            InvalidRequest: the channels or covariates differ from those it was trained on.
        """
        for one in series:
            self._check_channels(one)
            self._check_covariates(one, set(one.past_covariates))

    def check(self, series: Series, *, ignore_covariates: bool = False) -> None:
        """Refuse a request that lacks what the network reads, or brings what it does not.

        Raises:
            InvalidRequest: names the channels or covariates that differ.
        """
        self._check_channels(series)
        known = set(self.known_ahead) & set(series.future_covariates)
        if lacking := sorted(set(self.known_ahead) - known):
            raise InvalidRequest(
                f"series {series.item_id!r} lacks the future values of covariate"
                f" {', '.join(lacking)}, which this model was trained to know ahead"
            )
        named = set(series.past_covariates)
        self._check_covariates(series, named & set(self.covariates) if ignore_covariates else named)

    def _check_channels(self, series: Series) -> None:
        if series.num_channels != self.num_channels or (
            self.channels and series.channels and series.channels != self.channels
        ):
            named = f" ({', '.join(self.channels)})" if self.channels else ""
            raise InvalidRequest(
                f"series {series.item_id!r} has {series.num_channels} channels; this model was"
                f" trained on {self.num_channels}{named}, in this order"
            )

    def _check_covariates(self, series: Series, named: set[str]) -> None:
        if differing := sorted(named ^ set(self.covariates)):
            trained = ", ".join(self.covariates) or "none"
            raise InvalidRequest(
                f"series {series.item_id!r} differs in the covariates {', '.join(differing)} from"
                f" those this model was trained on: {trained}"
            )

    def apply(self, series: Series) -> Series:
        """Standardise a series; covariates that were not trained on are left out."""
        scales = self.covariates
        return replace(
            series,
            target=np.stack(
                [scale.apply(row) for scale, row in zip(self.targets, series.target, strict=True)]
            ),
            past_covariates={name: scales[name].apply(_numbers(series, name)) for name in scales},
            future_covariates={
                name: scales[name].apply(np.asarray(series.future_covariates[name], dtype=float))
                for name in self.known_ahead
                if name in series.future_covariates
            },
        )

    def with_own_scales(self, series: Series, history: Series | None = None) -> Series:
        """Standardise each covariate by its own past, and leave out those not trained on.

        One that never changed in it is standardised as the training series were together.

        Args:
            history: the whole past of the series, where `series` holds its end alone.
        """
        past, ahead = {}, {}
        for name in self.covariates:
            scale = self._own_scale(name, _numbers(history or series, name))
            past[name] = scale.apply(_numbers(series, name))
            if name in self.known_ahead and name in series.future_covariates:
                known = np.asarray(series.future_covariates[name], dtype=float)
                ahead[name] = scale.apply(known)
        return replace(series, past_covariates=past, future_covariates=ahead)

    def _own_scale(self, name: str, past: FloatArray) -> Scale:
        center, scale = (float(one[0]) for one in standardisation(past))
        return Scale(center=center, scale=scale) if scale > 0 else self.covariates[name]

    def contexts(self, batch: Sequence[Series], steps: int) -> Contexts:
        """Standardise series and put them side by side, each padded at the start to `steps`.

        Padded to the same length whatever the company, a series is computed the same in any.
        """
        scaled = [self.apply(series) for series in batch]
        past = [left_padded(one.target, steps) for one in scaled]
        beside = [_rows(one.past_covariates, self.covariates, one.length) for one in scaled]
        ahead = [_rows(one.future_covariates, self.known_ahead, 0) for one in scaled]
        return Contexts(
            past=_filled(past),
            observed=~np.isnan(np.stack(past)),
            past_covariates=_filled([left_padded(rows, steps) for rows in beside]),
            future_covariates=_filled(ahead),
        )

    def restore(self, forecast: Forecast) -> Forecast:
        """Bring a forecast of standardised series back to the unit of each channel."""
        center = np.array([scale.center for scale in self.targets])[:, None]  # [C, 1]
        scale = np.array([scale.scale for scale in self.targets])[:, None]
        return replace(
            forecast,
            mean=forecast.mean * scale + center,
            quantiles=forecast.quantiles * scale[..., None] + center[..., None],
        )

    def write(self, folder: Path) -> None:
        (folder / FEATURES_FILE).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            BadData: the folder holds no such file, or a damaged one.
        """
        try:
            return cls.model_validate_json((folder / FEATURES_FILE).read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise BadData(
                f"the weights hold no readable {FEATURES_FILE}; they were not saved by this model"
            ) from error


def _rows(named: Mapping[str, FloatArray], names: Iterable[str], steps: int) -> FloatArray:
    """Stack covariates in the order of `names`: [K, steps], also where K is 0."""
    rows = [named[name] for name in names]
    return np.stack(rows) if rows else np.empty((0, steps))


def _filled(parts: Sequence[FloatArray]) -> FloatArray:
    """Stack float32 arrays, 0 where missing."""
    return np.nan_to_num(np.stack(parts)).astype(np.float32)


def _numbers(series: Series, name: str) -> FloatArray:
    return np.asarray(series.past_covariates[name], dtype=float)
