"""`python -m forecast.training.processes.runner <folder>`: one process that does one order, once.

The order lies in the folder; `call.py` says how the process is talked to.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecast.core.errors import ForecastError
from forecast.training.processes.call import Call, received
from forecast.training.processes.fitting import fit
from forecast.training.processes.forecasting import forecast

ACTIONS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "fit": fit,
    "forecast": forecast,
}
"""What may stand in an order's `action` → what does it, and gives JSON."""


def main() -> None:
    """Do the order; the answer says how it went, and the exit status too."""
    call = received(Path(sys.argv[1]), rank=int(os.environ.get("RANK", "0")))  # as torchrun says
    answer = _answer(call)
    if call.is_first or "error" in answer:
        call.say(answer)
    os._exit("error" in answer)  # what a library still runs must not keep the process


def _answer(call: Call) -> dict[str, Any]:
    try:
        done = ACTIONS[call.order.get("action", "fit")](call)
    except ForecastError as error:
        return {"error": {"code": error.code, "detail": error.detail}}
    except Exception:  # noqa: BLE001 -- the process boundary: told as an error of ours
        traceback.print_exc()
        detail = "it failed for a reason of ours; the log of the job holds it"
        return {"error": {"code": ForecastError.code, "detail": detail}}
    return {"stopped": True} if call.stopping.is_set() else {"done": done}


if __name__ == "__main__":
    main()
