"""How the model hub is reached; says so without importing its client."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HubSettings:
    """How the hub is reached.

    Attributes:
        endpoint: address of the hub or a mirror; None for the client's default.
        token: sent to the endpoint only; None sends none.
        timeout_s: for an answer of the hub, not for the whole download.
        offline: never ask the hub; take what the cache holds.
        cache: folder in the hub client's layout, to share one with other programs; None for
            a folder in the resolver's cache.
    """

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    timeout_s: float = 10.0
    offline: bool = False
    cache: Path | None = None
