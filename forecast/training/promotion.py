"""Whether a new version becomes `current`: never, always, or where it is better on newer data."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from forecast.core.errors import ForecastError
from forecast.core.types import Series
from forecast.jobs.context import JobContext, WorkFailed
from forecast.store.names import CURRENT
from forecast.store.versions import Version
from forecast.training.fit_requests import FitRequest, cut_series
from forecast.training.fits import Fits
from forecast.training.splitting import held_steps

_METRIC = "mase"
_MOST_ORIGINS = 10  # of each series
_MOST_STEPS = 4096  # of a series that is sent to be measured


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a new version.

    Attributes:
        message: one line about it; None where nothing was to be decided.
        metrics: of both, where they were compared.
    """

    is_promoted: bool
    message: str | None = None
    metrics: tuple[tuple[str, float], ...] = ()


def promoted(
    policy: str, name: str, request: FitRequest, context: JobContext, fits: Fits
) -> Promotion:
    """Let `current` mean a version, if the policy says so.

    Args:
        policy: `never`, `always` or `if_better`.
        request: of the fit that made it, whose held back steps are what versions are compared on.

    Raises:
        Stopped: the job is to be cancelled.
        ForecastError: the store does not take it.
    """
    shelf = fits.store.model(request.spec.model_id)
    current = shelf.aliases.get(CURRENT)
    if policy == "never" or current == name:
        return Promotion(is_promoted=False)
    verdict = Promotion(is_promoted=True, message=f"{name} is current now")
    if policy == "if_better" and current is not None:
        try:
            verdict = _compared(shelf.get(name), shelf.get(current), request, context, fits)
        except (WorkFailed, ForecastError) as error:
            return Promotion(
                is_promoted=False,
                message=f"{current} stays current: it could not be compared with {name}: {error}",
            )
    if verdict.is_promoted:
        shelf.aliases.set(CURRENT, name, who=f"job {context.job_id}", why=verdict.message or "")
    return verdict


def _compared(
    candidate: Version, current: Version, request: FitRequest, context: JobContext, fits: Fits
) -> Promotion:
    held_out = fair(request, current.cutoff)
    if not held_out:
        return Promotion(
            is_promoted=False,
            message=f"{current.name} stays current: nothing held back from {candidate.name} is"
            " newer than what the current version has seen, so they cannot be compared fairly",
        )
    weights = {"candidate": candidate.path, "current": current.path}
    found = fits.score(request, weights, held_out, context)
    return _verdict(candidate.name, current.name, found, fits)


def _verdict(
    candidate: str, current: str, found: dict[str, dict[str, float]], fits: Fits
) -> Promotion:
    config = fits.store.config
    metric = config.keep_best_by or _METRIC
    if any(metric not in metrics for metrics in found.values()):
        metric = _METRIC if all(_METRIC in metrics for metrics in found.values()) else "mae"
    lower = config.lower_is_better or metric != config.keep_best_by
    new, old = found["candidate"][metric], found["current"][metric]
    is_better = new < old if lower else new > old
    said = f"{metric} {new:.4g} against {old:.4g} of {current}"
    return Promotion(
        is_promoted=is_better,
        message=f"{candidate} is current now: {said}"
        if is_better
        else f"{current} stays current: {candidate} has {said}",
        metrics=((f"candidate_{metric}", new), (f"current_{metric}", old)),
    )


def fair(request: FitRequest, seen: datetime | None) -> list[Series]:
    """Cut series so that their last `horizon` steps are new to both versions.

    They were held back from the new one's weights, and lie after all that the other has seen.

    Args:
        seen: the cutoff of the other; nothing is fair where it is not known.
    """
    if seen is None:
        return []
    config = request.spec.config(**request.config)
    horizon = config.horizon or 1
    found = []
    for one in cut_series(request.series, request.cutoff):
        held = held_steps(one.length, request.validation, config)
        newer = _newer_steps(one, np.datetime64(seen.replace(tzinfo=None), "s"))
        origins = min(min(held, newer) // horizon, _MOST_ORIGINS)
        found += [
            one.until(one.length - number * horizon).last(_MOST_STEPS) for number in range(origins)
        ]
    return [one for one in found if _is_measurable(one, horizon)]


def _newer_steps(series: Series, seen: np.datetime64) -> int:
    times = series.past_timestamps
    return 0 if times is None else int((times > seen).sum())


def _is_measurable(series: Series, horizon: int) -> bool:
    past, ahead = series.target[:, :-horizon], series.target[:, -horizon:]
    return all(bool(np.isfinite(part).any(axis=-1).all()) for part in (past, ahead))
