"""What the HTTP layer is told; plain values, read from the settings by whoever composes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from forecast.data.policy import DataPolicy

MOST_FALLBACKS = 8


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """How to serve.

    Attributes:
        api_keys: any of these opens what is not public; none leaves everything open, which
            is for a Unix socket only.
        max_body_bytes: the largest request body.
        policy: how long a request may take, and how large an upload may be.
        is_host: the callers are gateways: what they tell of a call in headers is read.
        limits: what else `/info` shows; the readers of requests enforce them.
        required_models: `/health/ready` fails until each of these is ready.
        aliases: other names of models for `POST /forecast/v1/forecast`.
        cors_origins: web pages that may call; none by default.
        compress_min_bytes: answers from this size on are compressed for who accepts it;
            0 never does. Small answers gain nothing and pay for it.
        event_streams: callers that may follow the events of jobs at once.
        docs: serve `/docs`, `/redoc` and `/openapi.json`.
    """

    version: str
    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = 64 * 1024 * 1024
    policy: DataPolicy = DataPolicy()
    is_host: bool = False
    limits: Mapping[str, int | float] = field(default_factory=dict)
    required_models: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    cors_origins: tuple[str, ...] = ()
    compress_min_bytes: int = 65_536
    event_streams: int = 100
    docs: bool = True
