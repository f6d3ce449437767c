"""A family that fits each series on its own, and can keep what it fitted."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forecast.core.errors import BadData
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import ModelOptions
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.saved import OnProgress, Progress, TrainingResult
from forecast.models.base.scaling import trailing_gap

FITS_FILE = "fits.json"
_COMPARED = 8  # steps, where there is no season
_LONGEST_COMPARED = 48
_ONE_STEP = ForecastTask(horizon=1, quantile_levels=())

Document = dict[str, Any]
"""What was fitted to a series, as JSON."""


def key_of(facts: str, *arrays: npt.NDArray[Any]) -> str:
    """Name what a fit depends on: equal keys, equal fits."""
    digest = sha256(facts.encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class LocalModel(BaseTimeSeriesModel):
    """Fits a history when it is asked of it, unless `fit` has fitted this very one.

    A fit is found again by the values, times and covariates it saw and the options it was
    made with. Any other history, a longer one too, is fitted as ever: these models are
    fitted in a second, and one that ignores the newest steps is worth less than that.
    """

    config: Any  # with `options`, what `fit` fits and a request gets that sets none
    cached_fits_: Mapping[str, Document] = {}

    def compared_horizon(self, series: Series) -> int:
        """Return the horizon of the configuration; by default a season of at most 48 steps, or 8.

        No window is trained, so `training_horizon` is 1 by default, which judges no season.
        """
        season = min(series.season_length, _LONGEST_COMPARED)
        return self.config.horizon or (season if season > 1 else _COMPARED)

    def _options_of(self, task: ForecastTask) -> ModelOptions:
        """Read the options of a task, or, where it sets none, those of the configuration.

        By value, and not by what was named: requests of equal options share a call.
        """
        default: ModelOptions = self.spec.options()
        asked = default if task.options is None else task.options
        assert isinstance(asked, ModelOptions)
        as_if_used = asked.model_copy(update={"ignore_covariates": False})
        return self.config.options if as_if_used == default else asked

    @abstractmethod
    def _fit_some(self, series: Sequence[Series], task: ForecastTask) -> dict[str, Document]:
        """Fit checked series: what was fitted, by its key."""

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,  # noqa: ARG002 -- nothing is chosen by it
        on_progress: OnProgress,
        checkpoints: Path | None,  # noqa: ARG002 -- a fit takes a second
    ) -> TrainingResult:
        task = replace(_ONE_STEP, options=self.spec.options())
        prepared = [self._for_fitting(series, task) for series in train]
        fits: dict[str, Document] = {}
        history = []
        for start in range(0, len(train), self.config.batch_size):
            part = prepared[start : start + self.config.batch_size]
            fits |= self._fit_some(part, task)
            done = start + len(part)
            history.append({"step": float(done)})
            if on_progress(Progress(step=done, of=len(train))) is False:
                break
        self.cached_fits_ = fits
        return TrainingResult(history=tuple(history))

    def _for_fitting(self, series: Series, task: ForecastTask) -> Series:
        """Cut to what a forecast would use; the one step ahead of a covariate is not fitted to."""
        used = series.last(self.max_context)
        used = used.until(used.length - trailing_gap(used.target))
        ahead = {name: used.past_covariates[name][-1:] for name in used.future_covariates}
        used = replace(used, future_covariates=ahead)
        self.check(used, task)
        return used

    def _save_model_weights(self, path: Path) -> None:
        if self.cached_fits_:
            (path / FITS_FILE).write_text(json.dumps(self.cached_fits_))

    def _load_model_weights(self, path: Path) -> None:
        file = path / FITS_FILE
        if not file.exists():
            return
        try:
            fits = json.loads(file.read_bytes())
        except ValueError as error:
            raise BadData(f"{FITS_FILE} of the weights cannot be read") from error
        if not isinstance(fits, dict):
            raise BadData(f"{FITS_FILE} of the weights holds no fits")
        self.cached_fits_ = fits
