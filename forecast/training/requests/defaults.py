"""What `POST /train/<model_id>` learns from, where the operator has named something."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from forecast.data.tables import TableSchema
from forecast.training.requests.data import DataReader, LearningData
from forecast.training.requests.datasets import NAME_PATTERN


@dataclass(frozen=True, slots=True)
class DefaultDataset:
    """A dataset by its name, or a file in long format.

    Attributes:
        source: the name of a dataset; with a schema, a URL or a file under the data roots.
        schema: which column of the file is what; None for a dataset, which brings its own.
    """

    source: str
    schema: TableSchema | None = None

    @classmethod
    def of(
        cls, source: str | None, schema: Mapping[str, Any] | None = None
    ) -> "DefaultDataset | None":
        """Read it from the settings; None where nothing is set.

        Raises:
            ValueError: the name is no name of a dataset and there is no schema, or the schema
                is none.
        """
        if source is None:
            if schema is not None:
                raise ValueError("the schema of a default dataset goes with its name")
            return None
        if schema is not None:
            try:
                return cls(source, TableSchema.model_validate(dict(schema)))
            except ValidationError as error:
                where = "/".join(map(str, error.errors()[0]["loc"]))
                raise ValueError(
                    f"the schema of the default dataset: {where}: {error.errors()[0]['msg']}"
                ) from error
        if not re.fullmatch(NAME_PATTERN, source):
            raise ValueError(
                f"{source!r} is no name of a dataset; a file needs the schema of its columns too"
            )
        return cls(source)

    def read(self, data: DataReader) -> LearningData:
        """Read the data. Blocks.

        Raises:
            NotFound: there is no such dataset or file.
            ForecastError: it cannot be read.
        """
        if self.schema is None:
            return data.dataset(self.source, None)
        return data.long_file(self.source, self.schema)
