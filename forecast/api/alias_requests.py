"""What `PUT aliases/<alias>` takes."""

from typing import Self

from pydantic import Field, model_validator

from forecast.core.errors import UnsupportedFormat
from forecast.core.validation import WireModel, read_json, validated
from forecast.data.bodies import is_json

LONGEST_REASON = 500


class AliasRequest(WireModel):
    """Name the version that the alias is to stand for, or roll it back to the one before."""

    version: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="A version or a snapshot, or an alias that stands for one now.",
        examples=["v2026-11-21-3f9c2a1"],
    )
    rollback: bool = Field(
        False, description="Go back to the version that it stood for before, if that is still good."
    )
    reason: str = Field(
        min_length=1, max_length=LONGEST_REASON, description="Why; kept in the history."
    )

    @model_validator(mode="after")
    def _says_what_to_do(self) -> Self:
        if self.rollback == (self.version is not None):
            raise ValueError("send either version, or rollback: true")
        return self


def read_alias(body: bytes, content_type: str) -> AliasRequest:
    """Read the body.

    Raises:
        BadData: it is not JSON.
        InvalidRequest: an unknown field, a bad value, or both ways or none; names it.
        UnsupportedFormat: it says that it is something else.
    """
    if not is_json(content_type):
        raise UnsupportedFormat("send the change of an alias as application/json")
    return validated(AliasRequest, read_json(body))
