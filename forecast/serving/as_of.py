"""Which weights answer a request that names a version or a date."""

from dataclasses import dataclass

import numpy as np

from forecast.core.errors import InvalidRequest, LooksAhead, VersionNotFound
from forecast.core.lookahead import Provenance, Verdict, may_forecast
from forecast.core.times import shown
from forecast.data.parameters import AS_OF, Wanted
from forecast.models.spec import ModelSpec
from forecast.store.versions import ModelShelf, Version


@dataclass(frozen=True, slots=True)
class Choice:
    """What answers.

    Attributes:
        version: None for the weights that are loaded.
        warnings: why the answer may know of what came later.
    """

    version: Version | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Active:
    """What is known of the weights that are loaded.

    Attributes:
        version: their name in the store; None where they are from elsewhere.
    """

    version: str | None
    provenance: Provenance


def choose(wanted: Wanted, spec: ModelSpec, shelf: ModelShelf | None, active: Active) -> Choice:
    """Choose the version named, or the newest that may forecast from `as_of`. Reads the store.

    Where none may, the one with the newest cutoff at or before `as_of` answers with a warning,
    or the loaded weights where the store has none, unless the request is strict.

    Raises:
        VersionNotFound: there is none of that name.
        VersionDamaged: a file of it is not what was written.
        LooksAhead: it has seen what came after `as_of`, or may have, and the request is strict.
    """
    if spec.is_ready_at_once and spec.weights is None:
        return _fitted_to_each_request(wanted, spec)
    version = _version(wanted, spec, shelf)
    if wanted.as_of is None:
        return Choice(version)
    name = f"version {version.name}" if version else _name_of(active)
    provenance = version.metadata.provenance if version else active.provenance
    verdict = may_forecast(provenance, wanted.as_of, name=name, strict=wanted.strict)
    if not verdict.allowed:
        pointer = "/parameters/version" if wanted.version else AS_OF
        hint = _hint(wanted.version, spec, wanted.as_of)
        raise LooksAhead.field(pointer, f"{verdict.warnings[0]}; {hint}, or send strict: false")
    return Choice(version, verdict.warnings)


def _fitted_to_each_request(wanted: Wanted, spec: ModelSpec) -> Choice:
    if wanted.version is not None:
        raise InvalidRequest.field(
            "/parameters/version",
            f"{spec.model_id} is fitted to each request and has no versions; leave it out",
        )
    return Choice()


def _version(wanted: Wanted, spec: ModelSpec, shelf: ModelShelf | None) -> Version | None:
    if wanted.version is not None:
        if shelf is None:
            raise VersionNotFound(
                f"no versions of {spec.model_id} are stored here; leave version out to use the"
                " loaded weights"
            )
        return shelf.get(wanted.version)
    as_of = wanted.as_of
    if as_of is None or shelf is None:
        return None
    safe = shelf.newest_before(as_of, lambda version: _judged(version, as_of).allowed)
    return safe or shelf.newest_before(as_of)


def _judged(version: Version, as_of: np.datetime64) -> Verdict:
    return may_forecast(version.metadata.provenance, as_of, name=version.name, strict=True)


def _name_of(active: Active) -> str:
    return f"the loaded version {active.version}" if active.version else "the loaded model"


def _hint(version: str | None, spec: ModelSpec, as_of: np.datetime64) -> str:
    if version is not None:
        return "name an older version, or none"
    able = spec.capabilities.trainable or spec.capabilities.fine_tunable
    if not able:
        return "ask a model that is trained here"
    return f"train a snapshot with a cutoff at or before {shown(as_of)}"
