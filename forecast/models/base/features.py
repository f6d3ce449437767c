"""What a network was trained on: its channels and covariates, and the scale of each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import CovariateArray, FloatArray, Series
from forecast.models.base.scaling import Scaler

FEATURES_FILE = "features.json"


class TrainedScale(BaseModel):
    """Mean and standard deviation of the observed training values; the latter 1 where flat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, values: Sequence[FloatArray]) -> Self:
        """Measure arrays of one unit together; arrays without observed values change nothing."""
        together = np.concatenate([np.where(np.isfinite(each), each, np.nan) for each in values])
        scaler = Scaler.of(together)
        return cls(center=scaler.center.item(), scale=scaler.scale.item() or 1.0)

    def apply(self, values: FloatArray) -> FloatArray:
        """Standardise; NaN stays NaN."""
        scaled: FloatArray = (values - self.center) / self.scale
        return scaled


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
    targets: tuple[TrainedScale, ...] = (TrainedScale(),)
    covariates: dict[str, TrainedScale] = {}
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
                TrainedScale.of([one.target[channel] for one in series])
                for channel in range(first.num_channels)
            ),
            covariates={
                name: TrainedScale.of([_numbers(one.past_covariates[name]) for one in series])
                for name in names
            },
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

    def with_training_scales(self, series: Series) -> Series:
        """Standardise each covariate by the training series; leave out those not trained on."""
        return self._scaled(series, self.covariates)

    def with_own_scales(self, series: Series, history: Series) -> Series:
        """Standardise each covariate by its own past; leave out those not trained on.

        One that never changed in it is standardised by the training series.

        Args:
            history: the whole past of the series, of which `series` is the end.
        """
        return self._scaled(
            series, {name: self._own_scale(name, history) for name in self.covariates}
        )

    def _own_scale(self, name: str, history: Series) -> TrainedScale:
        own = Scaler.of(_numbers(history.past_covariates[name]))
        if own.scale.item() == 0:
            return self.covariates[name]
        return TrainedScale(center=own.center.item(), scale=own.scale.item())

    def _scaled(self, series: Series, scales: Mapping[str, TrainedScale]) -> Series:
        ahead = series.future_covariates
        return replace(
            series,
            past_covariates={
                name: scale.apply(_numbers(series.past_covariates[name]))
                for name, scale in scales.items()
            },
            future_covariates={
                name: scales[name].apply(_numbers(ahead[name]))
                for name in self.known_ahead
                if name in ahead
            },
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


def _numbers(values: CovariateArray) -> FloatArray:
    return np.asarray(values, dtype=float)
