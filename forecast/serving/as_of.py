"""Which weights answer a request that names a version or a date."""

from dataclasses import dataclass

import numpy as np

from forecast.core.errors import InvalidRequest, LooksAhead, VersionNotFound
from forecast.core.times import shown, to_datetime64
from forecast.data.as_of import AS_OF, Wanted
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
        cutoff: of what they were trained on here; None where it is not known.
        base: what that training started from; None for nothing, or where the store knows.
    """

    version: str | None
    cutoff: np.datetime64 | None
    base: str | None = None


def choose(wanted: Wanted, spec: ModelSpec, shelf: ModelShelf | None, active: Active) -> Choice:
    """Choose the version named, or the newest with a cutoff at or before `as_of`. Reads the store.

    The loaded weights answer where the store has none that old, if they are, or the request
    is not strict.

    Raises:
        VersionNotFound: there is none of that name.
        VersionDamaged: a file of it is not what was written.
        LooksAhead: it has seen what came after `as_of`, or may have, and the request is strict.
    """
    if spec.is_ready_at_once:
        return _fitted_to_each_request(wanted, spec)
    version = _version(wanted, spec, shelf)
    if wanted.as_of is None:
        return Choice(version)
    warnings = _doubts(wanted.as_of, version, active)
    if warnings and wanted.strict:
        pointer = "/parameters/version" if wanted.version else AS_OF
        hint = _hint(wanted, spec)
        raise LooksAhead.field(pointer, f"{warnings[0]}; {hint}, or send strict: false")
    return Choice(version, warnings or _origin(wanted.as_of, version, active))


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
    if wanted.as_of is None or shelf is None:
        return None
    return shelf.newest_before(wanted.as_of)


def _doubts(as_of: np.datetime64, version: Version | None, active: Active) -> tuple[str, ...]:
    """Say why the weights that would answer may have seen what came later."""
    if version is None:
        cutoff, name = active.cutoff, _name_of(active)
    else:
        cutoff = None if version.cutoff is None else to_datetime64(version.cutoff)
        name = f"version {version.name}"
    if cutoff is None:
        return (
            f"the cutoff of {name} is not known, so it may have seen what came after"
            f" {shown(as_of)}",
        )
    if cutoff > as_of:
        return (f"{name} has seen data until {shown(cutoff)}, after as_of, {shown(as_of)}",)
    return ()


def _name_of(active: Active) -> str:
    return f"the loaded version {active.version}" if active.version else "the loaded model"


def _hint(wanted: Wanted, spec: ModelSpec) -> str:
    if wanted.version is not None:
        return "name an older version, or none"
    assert wanted.as_of is not None
    able = spec.capabilities.trainable or spec.capabilities.fine_tunable
    if not able:
        return "ask a model that is trained here"
    return f"train a snapshot with a cutoff at or before {shown(wanted.as_of)}"


def _origin(as_of: np.datetime64, version: Version | None, active: Active) -> tuple[str, ...]:
    """Say that training started from weights of unknown age."""
    base = active.base if version is None else version.metadata.source
    if base is None or base.startswith("store:"):
        return ()
    name = _name_of(active) if version is None else f"version {version.name}"
    return (
        f"{name} was trained on nothing after its cutoff, but from {base}, which may have seen"
        f" what came after {shown(as_of)}",
    )
