"""Types of settings. Each layer defines its own group of them; forecast/settings.py reads all."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode


class SettingsGroup(BaseModel):
    """Settings of one layer. Field `x` is the variable `FORECAST_X`, whatever its group."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )


def variables(*names: str) -> AliasChoices:
    """Name the variables that set a field, the first of them winning."""
    return AliasChoices(*names)


def _split(value: Any) -> Any:
    """Take `a,b` for a list; JSON is left to pydantic. `none` is the empty list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip() not in ("", "none")]


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)]
Bytes = Annotated[int, Field(ge=1024, le=64 * 1024**3)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
