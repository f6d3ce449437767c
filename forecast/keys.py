"""The key of a deployment that was given none: made once, kept in a file of its owner's."""

import logging
import secrets
from pathlib import Path

from forecast.core.atomic import locked, write_text

log = logging.getLogger(__name__)

KEY_FILE = "api_key"


def kept_key(home: Path) -> str:
    """Read the key in `<home>/api_key`, or make it, readable by its owner only.

    Several processes that start at once end up with the same key.
    """
    file = home / KEY_FILE
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / f".{KEY_FILE}.lock"):
        if file.exists() and (key := file.read_text().strip()):
            return key
        key = secrets.token_urlsafe(32)
        write_text(file, f"{key}\n", mode=0o600)
    log.info("no key was set; a new one is in %s", file)
    return key
