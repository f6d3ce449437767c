"""The service behind `nixtla`: connected with the operator's key, its errors told as ours."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from nixtla import NixtlaClient
from nixtla.nixtla_client import ApiError

from forecast.core.errors import (
    BadModelOutput,
    DeadlinePassed,
    ForecastError,
    InvalidRequest,
    ModelNotReady,
    QueueFull,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from forecast.models.timegpt.spec import TimeGPTConfig

_PAUSE_S = 1  # between attempts
_RETRY_AFTER_S = 10.0
_TOO_LATE = frozenset({408, 504})
_REFUSED_KEY = frozenset({401, 402, 403})
_REFUSED_REQUEST = frozenset({400, 404, 413, 422})
_LONGEST_REASON = 300

# It logs every call at level info, and each failed attempt with what the service said.
logging.getLogger("nixtla").setLevel(logging.CRITICAL)


def connect(config: TimeGPTConfig) -> NixtlaClient:
    """Make the client; nothing is sent yet.

    Raises:
        ModelNotReady: the operator has set no key; says where.
    """
    if config.api_key is None:
        raise ModelNotReady(
            "timegpt needs a key of its makers: set NIXTLA_API_KEY (or FORECAST_TIMEGPT_API_KEY)"
            " in the environment of the gateway"
        )
    return NixtlaClient(
        api_key=config.api_key.get_secret_value(),
        base_url=config.base_url,
        timeout=config.request_timeout_s,
        max_retries=config.max_attempts,
        retry_interval=_PAUSE_S,
        max_wait_time=config.max_attempts * config.request_timeout_s,
    )


def check_key(client: NixtlaClient) -> None:
    """Ask whether the key is good.

    Raises:
        RemoteUnauthorized: it is not.
        RemoteUnavailable: nobody answers.
    """
    with our_errors():
        if not client.validate_api_key(log=False):
            raise _refused_key()


@contextmanager
def our_errors() -> Iterator[None]:
    """Translate what the client raises.

    Raises:
        RemoteUnauthorized: the service refuses the key.
        QueueFull: too many requests; says when to come back.
        DeadlinePassed: no answer in time.
        RemoteUnavailable: no answer at all.
        InvalidRequest: the service refuses the request; says why.
        BadModelOutput: an answer that is none.
    """
    try:
        yield
    except ApiError as error:
        raise _of_status(error) from error
    except httpx.ConnectTimeout as error:
        raise RemoteUnavailable("TimeGPT cannot be reached; try again later") from error
    except httpx.TimeoutException as error:
        raise DeadlinePassed("TimeGPT did not answer in time; ask for less") from error
    except httpx.TransportError as error:
        raise RemoteUnavailable("TimeGPT cannot be reached; try again later") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadModelOutput("TimeGPT gave an answer that cannot be read") from error


def _of_status(error: ApiError) -> ForecastError:
    status = error.status_code
    if status in _REFUSED_KEY:
        return _refused_key()
    if status == 429:
        pause_s = error.retry_after or _RETRY_AFTER_S
        return QueueFull(
            "TimeGPT takes no more requests now; try again later", retry_after_s=pause_s
        )
    if status in _TOO_LATE:
        return DeadlinePassed("TimeGPT did not answer in time; ask for less")
    if status in _REFUSED_REQUEST:
        return InvalidRequest(f"TimeGPT refused the request: {_reason(error.body)}")
    return RemoteUnavailable("TimeGPT failed on its side; try again later")


def _refused_key() -> RemoteUnauthorized:
    return RemoteUnauthorized(
        "TimeGPT refuses the key of this deployment; its operator sets another in NIXTLA_API_KEY"
        " (or FORECAST_TIMEGPT_API_KEY)"
    )


def _reason(body: Any) -> str:
    detail = body.get("detail") if isinstance(body, dict) else None
    return str(detail)[:_LONGEST_REASON] if detail else "it gave no reason"
