"""Prophet, imported without its noise; workers import it once, when they start."""

import logging

logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)  # plotly is optional, and unused

from prophet import Prophet  # noqa: E402 -- it logs while it is imported
from prophet.serialize import model_from_json, model_to_json  # noqa: E402

logging.getLogger("prophet").setLevel(logging.WARNING)
logging.getLogger("cmdstanpy").disabled = True  # sets its own level when imported

__all__ = ["Prophet", "model_from_json", "model_to_json"]
