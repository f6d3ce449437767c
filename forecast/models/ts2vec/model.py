"""TS2Vec (Yue et al. 2022, arXiv:2106.10466): representations, and ridge regressions on them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.calibration import scale_of
from forecast.models.base.config import TrainingMode
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.features import Features, Scale
from forecast.models.base.scaling import Scaling
from forecast.models.base.tensor_files import loaded
from forecast.models.base.torch_model import TorchModel
from forecast.models.base.torch_training import Batch
from forecast.models.base.training import OnProgress, Progress, TrainingResult
from forecast.models.base.windows import Windows
from forecast.models.spec import Capabilities
from forecast.models.ts2vec.averaging import Averaging
from forecast.models.ts2vec.contrast import Crops, cropped, hierarchical_contrast
from forecast.models.ts2vec.forecaster import Forecaster, rows_of
from forecast.models.ts2vec.head import Examples, calibration_of, fit_head, solve_again
from forecast.models.ts2vec.spec import SPEC, Ts2VecConfig

WEIGHTS_FILE = "model.safetensors"
_SHAPING = (
    "context_length",
    "horizon",
    "hidden_dim",
    "num_layers",
    "representation_dim",
    "channel_mode",
)
_HELD_OUT = 5  # one part in so many, where there is no validation


class Ts2VecModel(TorchModel):
    """Trains an encoder without labels, then solves for a linear head; calibrated quantiles."""

    spec = SPEC
    config: Ts2VecConfig
    features = Features()
    averaging: Averaging

    @property
    def capabilities(self) -> Capabilities:
        """What the family can do, less what this network was not trained for."""
        return replace(
            self.spec.capabilities,
            multivariate=self.features.num_channels > 1,
            past_covariates=bool(self.features.covariates),
            max_horizon=self.config.horizon,
        )

    def shared_horizon(self, horizon: int) -> int:
        """All steps are made at once, whatever number is asked."""
        return max(horizon, self.config.horizon)

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        ignore = getattr(task.options, "ignore_covariates", False)
        self.features.check(series, ignore_covariates=ignore)

    # Forecasting

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        size = self.config.batch_size
        return [
            forecast
            for start in range(0, len(batch), size)
            for forecast in self._forecast(batch[start : start + size], task)
        ]

    def _forecast(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        network = self.network
        scalings = [self._scaling(series) for series in batch]
        standard = [self._standardised(*pair) for pair in zip(batch, scalings, strict=True)]
        found = self.features.contexts(standard, self.config.context_length)
        arrays = (found.past, found.observed, found.past_covariates)
        with torch.inference_mode():
            made = network.forecast(*(torch.from_numpy(each).to(self.device) for each in arrays))
        points = made[..., : task.horizon].cpu().double().numpy()
        spreads = scale_of(np.where(found.observed, found.past.astype(float), np.nan))
        return [
            self._restored(self._calibrated(_without_quantiles(point), spread, task), scaling)
            for point, spread, scaling in zip(points, spreads, scalings, strict=True)
        ]

    def _scaling(self, series: Series) -> Scaling:
        """Measure a series where windows are read relative to their own level."""
        shape = (series.num_channels, 1)
        if self.config.normalize_instances:
            return Scaling.of(series.target)
        return Scaling(np.zeros(shape), np.ones(shape))

    def _standardised(self, series: Series, scaling: Scaling) -> Series:
        return replace(series, target=scaling.apply(series.target))

    def _restored(self, forecast: Forecast, scaling: Scaling) -> Forecast:
        own = self.features.restore(forecast)
        mean, quantiles = scaling.restore(own.mean), scaling.restore(own.quantiles)
        return replace(own, mean=mean, quantiles=quantiles)

    # Training

    def _prepare_training(self, train: Sequence[Series]) -> None:
        if self._goes_on:
            self.features.check_training(train)
        else:
            measured = Features.of(train)
            identity = (Scale(),) * measured.num_channels
            own = {"targets": identity} if self.config.normalize_instances else {}
            self.features = measured.model_copy(update=own)

    @property
    def _goes_on(self) -> bool:
        return self.config.training_mode is TrainingMode.FINE_TUNE

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        return cast(nn.Module, self.network) if self._goes_on else self._new_network()

    def _optimization(self, network: nn.Module) -> Averaging:
        self.averaging = Averaging(network, self.config)
        return self.averaging

    def _after_training(self, network: nn.Module) -> nn.Module:
        self.averaging.finish()
        return super()._after_training(network)

    def _new_network(self) -> Forecaster:
        features = self.features
        return Forecaster(features.num_channels, len(features.covariates), self.config)

    def _windows(self, series: Sequence[Series], horizon: int = 1) -> Windows:
        """Cut windows; the contrast looks at contexts only, whatever follows them."""
        return Windows(
            [self.features.apply(self._standardised(one, self._scaling(one))) for one in series],
            context_length=self.config.context_length,
            horizon=horizon,
            stride=self.config.stride,
        )

    def _validation_windows(self, validation: Sequence[Series]) -> Windows | None:
        """Cut the windows that choose penalties and calibrate, with the whole horizon."""
        if not validation:
            return None
        return self._held_back(self._windows(validation, self.config.horizon))

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        rows, seen = rows_of(self.config, batch.past, batch.past_observed, batch.past_covariates)
        crops = Crops.draw(*seen.shape)
        first, second = (
            network(cropped(rows, starts, length), cropped(seen, starts, length))
            for starts, length in zip(crops.starts, crops.lengths, strict=True)
        )
        return hierarchical_contrast(first[:, -crops.overlap :], second[:, : crops.overlap])

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,
        on_progress: OnProgress,
        checkpoints: Path | None,
    ) -> TrainingResult:
        """Train the encoder on `train` alone; `validation` chooses penalties and calibrates."""
        result = super()._fit(train, None, on_progress, checkpoints)
        on_progress(Progress(phase="head", step=len(result.history)))
        scores = self._fit_head(train, validation)
        return result.model_copy(update={"best_metrics": result.best_metrics | scores})

    def _fit_head(
        self, train: Sequence[Series], validation: Sequence[Series] | None
    ) -> dict[str, float]:
        """Solve for the head, and learn how far off it is where it was not solved for.

        Without validation the newest fifth of each series takes its place; in the end the
        head is solved for once more, on everything, with the penalties that were chosen.
        """
        horizon, device = self.config.horizon, torch.device(self.device)
        learn, held_out = train, self._validation_windows(validation or ())
        if held_out is None:
            learn, choose = _split(train, self.config)
            held_out = self._windows(choose, horizon)
        known = Examples.of(self.network, self._windows(learn, horizon), device)
        fit = fit_head(self.network, known, Examples.of(self.network, held_out, device))
        self.calibration_ = calibration_of(self.network, held_out, device)
        if learn is not train:
            everything = Examples.of(self.network, self._windows(train, horizon), device)
            solve_again(self.network, everything, fit.alphas)
        return fit.scores

    # Weights

    def _save_model_weights(self, path: Path) -> None:
        save_file(self.network.state_dict(), path / WEIGHTS_FILE)
        self.features.write(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self.features = Features.read(path)
        self.calibration_ = ConformalCalibration.load(path)
        if self.calibration_ is None:
            raise BadData("the weights hold no calibration.json; save them anew")
        self.model_ = loaded(self._new_network(), path / WEIGHTS_FILE, _SHAPING).to(self.device)

    @classmethod
    def tiny(cls) -> Self:
        sizes = {"context_length": 32, "horizon": 30, "hidden_dim": 8, "num_layers": 3}
        model = cls(Ts2VecConfig(device="cpu", representation_dim=12, **sizes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.model_ = model._new_network().eval()
        model.calibration_ = ConformalCalibration.assumed(30)
        return model


def _without_quantiles(mean: FloatArray) -> Forecast:
    return Forecast(mean, np.empty((len(mean), 0, mean.shape[1])), ())


def _split(series: Sequence[Series], config: Ts2VecConfig) -> tuple[list[Series], list[Series]]:
    """Cut off the newest fifth of each series, and give it with the context before it.

    A series without room for a horizon on both sides is learned from and held out as a whole.
    """
    learn, choose = [], []
    for one in series:
        kept = one.length - max(config.horizon, one.length // _HELD_OUT)
        fits = kept > config.horizon
        learn.append(_first(one, kept) if fits else one)
        choose.append(one.last(one.length - kept + config.context_length) if fits else one)
    return learn, choose


def _first(series: Series, steps: int) -> Series:
    past = {name: values[:steps] for name, values in series.past_covariates.items()}
    return replace(series, target=series.target[:, :steps], past_covariates=past)
