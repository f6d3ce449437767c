"""Static covariates as numbers: standardised ones, and a column for each known category."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import FloatArray, Series
from forecast.models.base.features import TrainedScale

STATIC_FILE = "static.json"
_MOST_CATEGORIES = 1000
_PREFIX = "\U0010ffff"  # sorts behind every name that a caller could give


class StaticFeatures(BaseModel):
    """`static.json`, beside the weights: measured on the training series alone.

    Attributes:
        numbers: name → scale.
        categories: name → the categories that were seen, in order. One that was not seen has
            no column: it says nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: dict[str, TrainedScale] = {}
    categories: dict[str, tuple[str, ...]] = {}

    @classmethod
    def of(cls, series: Sequence[Series]) -> Self:
        """Measure training series, all of one layout.

        Raises:
            InvalidRequest: a covariate is a number here and text there, or has too many
                categories.
        """
        numbers, categories = {}, {}
        for name in sorted(series[0].static_covariates):
            values = [one.static_covariates[name] for one in series]
            texts = sorted({value for value in values if isinstance(value, str)})
            if not texts:
                numbers[name] = TrainedScale.of([np.array(values, dtype=float)])
                continue
            _check_categories(name, values, texts)
            categories[name] = tuple(texts)
        return cls(numbers=numbers, categories=categories)

    def __len__(self) -> int:
        return len(self.numbers) + sum(map(len, self.categories.values()))

    def check(self, series: Series, *, ignore_covariates: bool = False) -> None:
        """Refuse a series that lacks a static covariate, or brings one that is not known.

        Raises:
            InvalidRequest: names what differs from the training series.
        """
        trained = self.numbers.keys() | self.categories.keys()
        given = series.static_covariates.keys()
        differing = trained - given if ignore_covariates else trained ^ given
        if differing:
            raise InvalidRequest(
                f"series {series.item_id!r} differs in the static covariates"
                f" {', '.join(sorted(differing))} from those this model was trained on:"
                f" {', '.join(sorted(trained)) or 'none'}"
            )
        for name in trained:
            if isinstance(series.static_covariates[name], str) != (name in self.categories):
                kind = "text" if name in self.categories else "a number"
                raise InvalidRequest(
                    f"static covariate {name!r} of series {series.item_id!r} is not {kind}, as it"
                    " was in training"
                )

    def encode(self, series: Series) -> FloatArray:
        """Give the numbers of one series, [S]; 0 is the training mean."""
        given = series.static_covariates
        numbers = [
            scale.apply(np.array(given[name], dtype=float)) for name, scale in self.numbers.items()
        ]
        columns = [
            float(given[name] == category)
            for name, seen in self.categories.items()
            for category in seen
        ]
        encoded: FloatArray = np.nan_to_num(np.array([*numbers, *columns], dtype=float))
        return encoded

    def as_rows(self, series: Series, known: Series) -> Series:
        """Add the numbers to what is known of a series, as covariates that never change.

        They come behind all others in the order of names.
        """
        rows = {
            f"{_PREFIX}{place:06d}": np.full(series.length, value)
            for place, value in enumerate(self.encode(series))
        }
        return replace(known, past_covariates={**known.past_covariates, **rows})

    def write(self, folder: Path) -> None:
        (folder / STATIC_FILE).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            BadData: the folder holds no such file, or a damaged one.
        """
        try:
            return cls.model_validate_json((folder / STATIC_FILE).read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise BadData(
                f"the weights hold no readable {STATIC_FILE}; they were not saved by this model"
            ) from error


def _check_categories(name: str, values: Sequence[float | str], texts: Sequence[str]) -> None:
    if not all(isinstance(value, str) for value in values):
        raise InvalidRequest(
            f"static covariate {name!r} is a number in one series and text in another"
        )
    if len(texts) > _MOST_CATEGORIES:
        raise InvalidRequest(
            f"static covariate {name!r} has {len(texts)} categories; at most {_MOST_CATEGORIES}"
            " can be learned: group them, or leave it out"
        )
