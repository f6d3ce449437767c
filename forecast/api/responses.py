"""Answers of our own, encoded once."""

from typing import Any

import orjson
from fastapi import Response


def json_response(document: Any, status_code: int = 200) -> Response:
    """Encode a document as JSON."""
    return Response(orjson.dumps(document), status_code, media_type="application/json")
