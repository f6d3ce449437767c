"""What the hub's client raises, said in our words."""

import os

from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from forecast.core.errors import (
    Forbidden,
    ForecastError,
    InvalidRequest,
    SourceUnavailable,
    UnknownSource,
)

_NO_COPY = (
    "the hub does not answer, and {source} is not whole in the cache;"
    " check the network and the hub's address, or use a local: source"
)


def is_down(error: Exception) -> bool:
    """Tell a hub that does not answer from one that says no."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return True


def explained(error: Exception, source: str, otherwise: str = _NO_COPY) -> ForecastError:
    """Say in our words what the hub's client says in its own; those may name paths.

    Args:
        otherwise: said of a hub that does not answer; `{source}` in it is replaced.
    """
    for kind, meaning in _MEANINGS.items():
        if isinstance(error, kind):
            return meaning[0](meaning[1].format(source=source))
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return Forbidden(f"the hub refuses {source} to this token; check the token")
    if isinstance(error, OSError) and error.errno:
        reason = os.strerror(error.errno).lower()
        return SourceUnavailable(f"{source} cannot be written to the cache of weights: {reason}")
    return SourceUnavailable(otherwise.format(source=source))


# In this order: a gated repository is, to the client, a kind of missing one.
_MEANINGS: dict[type[Exception], tuple[type[ForecastError], str]] = {
    GatedRepoError: (
        Forbidden,
        "{source} is gated: accept its terms on the hub with the account of the token",
    ),
    DisabledRepoError: (Forbidden, "the hub has disabled {source}"),
    RepositoryNotFoundError: (
        UnknownSource,
        "the hub has no {source}, or it is private and the token does not open it",
    ),
    RevisionNotFoundError: (UnknownSource, "the hub has no revision {source}"),
    RemoteEntryNotFoundError: (UnknownSource, "a file of {source} is gone from the hub"),
    HFValidationError: (InvalidRequest, "{source} is not the name of a repository"),
}
