"""How the processes of a model are run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forecast.training.processes.limits import ChildLimits


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How the processes of a model are run.

    Attributes:
        python: the interpreter, of the model's own environment where it has one.
        environment: of the process, whole.
        operator_config: fields of the model's configuration that only the operator sets;
            told through a pipe, never written down.
        limits: of each of its processes.
    """

    python: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    operator_config: Mapping[str, Any] = field(default_factory=dict)
    limits: ChildLimits = ChildLimits()
