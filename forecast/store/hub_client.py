"""The hub's client, as we want it: it never waits for ever, and sends as every hub takes it."""

from functools import cache
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, constants, get_session, set_client_factory
from huggingface_hub.utils.tqdm import disable_progress_bars

_WAIT_S = httpx2.Timeout(60.0, connect=10.0)  # between two parts of a transfer, not for its whole
_HUB = "huggingface.co"


def connect(endpoint: str | None, token: str | None) -> HfApi:
    """Make a client that sends the token to this endpoint only; None sends none."""
    _bound_waiting()
    disable_progress_bars()
    api = HfApi(endpoint=endpoint, token=token or False)
    host = urlsplit(api.endpoint).hostname or ""
    if host != _HUB and not host.endswith(f".{_HUB}"):
        # Other servers take files by plain HTTP alone. The variable of this name is read when the
        # client is imported, which is too late for a setting.
        constants.HF_HUB_DISABLE_XET = True
    return api


@cache
def _bound_waiting() -> None:
    """Set a limit where the client has none, which is on every upload."""
    hooks = get_session().event_hooks
    set_client_factory(
        lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=_WAIT_S)
    )
