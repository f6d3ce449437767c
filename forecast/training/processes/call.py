"""The child's side of a fit: what it is asked, and how it answers whoever started it.

Answers are JSON objects, a line each: `{"progress": …}`, and in the end `{"done": …}`,
`{"stopped": true}` or `{"error": …}`. Standard input brings one line first, what only the
operator sets, which is never in a file; later a line `{"stop": true}` asks the child to end in
order. It ends by itself when standard input does, for then whoever started it is gone.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from forecast.models.base.saved import Progress

ORDER = "order.json"
STOP = {"stop": True}
_LOOKS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One order, in the process that does it.

    Attributes:
        folder: where the order lies, and what belongs to it.
        order: what the parent wrote; each action reads its own fields of it.
        operator_config: fields of the model's configuration that only the operator sets.
        rank: of this process among those that share the order; the first, 0, alone tells how
            it goes and writes what comes of it.
    """

    folder: Path
    order: Mapping[str, Any]
    operator_config: Mapping[str, Any]
    answers: TextIO
    rank: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def hear(self, progress: Progress) -> bool:
        """Pass a report on; False where somebody wants the work to end."""
        if self.is_first:
            self.say({"progress": progress.model_dump(mode="json")})
        return not self.stopping.is_set()

    def say(self, document: Mapping[str, Any]) -> None:
        """Write one answer, whole: processes that share an order share the pipe."""
        self.answers.write(json.dumps(document) + "\n")
        self.answers.flush()


def received(folder: Path, rank: int) -> Call:
    """Read an order, and begin to listen to the parent."""
    answers = _own_standard_output()
    operator_config = json.loads(sys.stdin.readline()) if rank == 0 else {}
    order = json.loads((folder / ORDER).read_bytes())
    call = Call(folder, order, operator_config, answers, rank)
    listening = _listen if rank == 0 else _end_with_launcher
    threading.Thread(target=listening, args=(call,), daemon=True).start()
    return call


def _own_standard_output() -> TextIO:
    """Keep standard output for answers; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _listen(call: Call) -> None:
    while line := sys.stdin.readline():
        if line.strip() and json.loads(line) == STOP:
            call.stopping.set()
    os._exit(1)


def _end_with_launcher(call: Call) -> None:  # noqa: ARG001 -- as the listener of the first
    launcher = os.getppid()
    while os.getppid() == launcher:
        time.sleep(_LOOKS_EVERY_S)
    os._exit(1)
