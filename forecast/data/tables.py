"""What a caller sends with a table in long format: which column is what."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from forecast.core.labels import Label
from forecast.data.inline import LABEL_FIELD, Parameters
from forecast.data.validation import WireModel

_CELL = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}, {"type": "null"}]}
_BY_ROW = {"type": "object", "additionalProperties": _CELL}
Table = Annotated[
    dict[str, Any] | list[Any],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "array", "items": _CELL}},
                {"type": "object", "additionalProperties": _BY_ROW},
                {"type": "array", "items": _BY_ROW},
            ]
        }
    ),
]
Names = list[str]


class TableSchema(WireModel):
    """Which column of a table or file is what. Columns that are not named are not used."""

    timestamp: str | None = Field(
        None, description="Column of ISO 8601 times; without it rows count in their order."
    )
    item_id: str | None = Field(
        None, description="Column that tells series apart; without it the table is one series."
    )
    target: str | Names = Field(
        description="Column to forecast; a list of columns for a model that forecasts several"
        " targets together.",
        examples=["sales", ["sales", "returns"]],
    )
    past_covariates: Names = Field([], description="Columns known in the past only.")
    future_covariates: Names = Field(
        [],
        description="Columns known ahead: each item has exactly `horizon` rows after its last"
        " observed target.",
    )
    static_covariates: Names = Field([], description="Columns that are constant for each item.")
    freq: str | None = Field(
        None, description="Pandas offset alias; inferred from the times by default."
    )
    label: Label | None = LABEL_FIELD

    @property
    def names(self) -> frozenset[str]:
        """All columns that are named."""
        one = (self.timestamp, self.item_id, *self.targets)
        known = (*self.past_covariates, *self.future_covariates, *self.static_covariates)
        return frozenset(name for name in (*one, *known) if name is not None)

    @property
    def targets(self) -> Names:
        return [self.target] if isinstance(self.target, str) else self.target


class TableRequest(WireModel):
    """Forecast the items of a table."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "data": {
                        "store": ["a", "a", "a", "a", "b", "b", "b", "b"],
                        "day": ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"] * 2,
                        "sales": [12, 15, 14, 19, 3, 2, 4, 4],
                    },
                    "schema": {"timestamp": "day", "item_id": "store", "target": "sales"},
                    "parameters": {"horizon": 2},
                }
            ]
        }
    }

    data: Table = Field(
        description="Column → its values, one a row; all of one length. Or a list of rows, or what"
        " pandas' `to_json` writes with the names of columns."
    )
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")
    parameters: Parameters = Parameters()
