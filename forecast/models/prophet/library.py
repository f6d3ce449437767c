"""Prophet, imported without its noise; workers import it once, when they start."""

import logging

logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)  # plotly is optional, and unused

from prophet import Prophet  # noqa: E402 -- it logs while it is imported

logging.getLogger("prophet").setLevel(logging.WARNING)
logging.getLogger("cmdstanpy").disabled = True  # sets its own level when imported

__all__ = ["Prophet"]
