"""Documents against pydantic models, with errors that point at the field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from forecast.core.errors import BadData, FieldError, InvalidRequest

Model = TypeVar("Model", bound=BaseModel)

_MOST_ERRORS = 20
_LONGEST_EXCERPT = 40


class WireModel(BaseModel):
    """Part of a request or an answer: unknown fields are refused, types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def read_json(body: bytes) -> Any:
    """Read JSON.

    Raises:
        BadData: it is not JSON; says where.
    """
    if not body.strip():
        raise BadData("the body is empty; send JSON")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = (
            "; JSON has no NaN or Infinity, write null for a missing value"
            if b"NaN" in body or b"Infinity" in body
            else ""
        )
        raise BadData(
            f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}){hint}"
        ) from error


def validated(model: type[Model], document: Any, pointer: str = "") -> Model:
    """Check a document against a model.

    Args:
        pointer: where the document stands in the request.

    Raises:
        InvalidRequest: names every field that is wrong.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _refusal(error, model, pointer) from error


def validated_options(model: type[Model], document: dict[str, Any], pointer: str = "") -> Model:
    """Check options, which Python code sets too: pydantic is lenient there, JSON need not be.

    Raises:
        InvalidRequest: names every field that is wrong, or of another type than its own.
    """
    if not document:
        return model()
    checked = validated(model, document, pointer)
    guessed = list(_guessed(document, checked.model_dump(mode="json"), pointer))
    if guessed:
        raise invalid([FieldError(where, "is of the wrong type") for where in guessed])
    return checked


def _guessed(sent: Any, kept: Any, pointer: str) -> Iterator[str]:
    """Find what was sent as one type and understood as another, such as "5" for 5."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        for name in sent.keys() & kept.keys():
            yield from _guessed(sent[name], kept[name], member(pointer, name))
    elif isinstance(sent, list) and isinstance(kept, list):
        for position, pair in enumerate(zip(sent, kept, strict=False)):
            yield from _guessed(*pair, member(pointer, position))
    elif any(isinstance(sent, kind) != isinstance(kept, kind) for kind in (bool, str)):
        yield pointer


def _refusal(error: ValidationError, model: type[BaseModel], pointer: str) -> InvalidRequest:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return invalid([_field_error(detail, pointer, model) for detail in details])


def invalid(errors: Sequence[FieldError]) -> InvalidRequest:
    """Make one error of all that is wrong."""
    first, more = errors[0], len(errors) - 1
    tail = f" (and {more} more)" if more else ""
    where = f"{first.pointer}: " if first.pointer else ""
    return InvalidRequest(f"{where}{first.detail}{tail}", errors=errors[:_MOST_ERRORS])


def member(pointer: str, *names: str | int) -> str:
    """Point at something inside `pointer` (RFC 6901)."""
    escaped = (str(name).replace("~", "~0").replace("/", "~1") for name in names)
    return "/".join((pointer, *escaped))


def excerpt(value: object) -> str:
    """Show a caller's own value back, shortened."""
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_EXCERPT else f"{shown[:_LONGEST_EXCERPT]}…"


def _field_error(detail: ErrorDetails, pointer: str, model: type[BaseModel]) -> FieldError:
    where = member(pointer, *detail["loc"])
    if detail["type"] == "extra_forbidden":
        return FieldError(where, f"unknown field{_known(model, detail['loc'])}")
    if detail["type"] == "missing":
        return FieldError(where, "this field is required")
    if detail["type"].endswith("_type") and "valid dictionary" in detail["msg"]:
        return FieldError(where, "must be a JSON object")
    message = detail["msg"].removeprefix("Value error, ")
    return FieldError(where, message[:1].lower() + message[1:])


def _known(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    if len(location) != 1:
        return ""
    fields: Mapping[str, Any] = model.model_fields
    names = (field.alias or name for name, field in fields.items())
    return f"; known are {', '.join(sorted(names))}"
