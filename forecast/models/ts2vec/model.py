"""TS2Vec (Yue et al. 2022, arXiv:2106.10466): representations, and ridge regressions on them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import nn

from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Series
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.features import Features
from forecast.models.base.saved import OnProgress, Progress, TrainingResult
from forecast.models.base.scaling import Scaler
from forecast.models.base.torch.network_model import Block, Context, NetworkModel
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import Windows
from forecast.models.ts2vec.averaging import Averaging
from forecast.models.ts2vec.contrast import Crops, cropped, hierarchical_contrast
from forecast.models.ts2vec.forecaster import Forecaster, rows_of
from forecast.models.ts2vec.head import Examples, calibration_of, fit_head, solve_again
from forecast.models.ts2vec.spec import SPEC, Ts2VecConfig

_HELD_OUT = 5  # one part in so many, where there is no validation


class Ts2VecModel(NetworkModel):
    """Trains an encoder without labels, then solves for a linear head; calibrated quantiles."""

    spec = SPEC
    config: Ts2VecConfig
    features: Features = Features()
    shaping_options = (
        "context_length",
        "horizon",
        "hidden_dim",
        "num_layers",
        "representation_dim",
        "channel_mode",
    )

    # Forecasting

    def _scaler(self, past: FloatArray) -> Scaler[FloatArray]:
        """Standardise contexts by themselves, or by the training series if asked to."""
        if self.config.normalize_instances:
            return super()._scaler(past)
        scales = self.features.targets
        return Scaler(
            np.array([[one.center] for one in scales]), np.array([[one.scale] for one in scales])
        )

    def _readable(self, series: Series, history: Series) -> Series:  # noqa: ARG002
        return self.features.with_training_scales(series)

    def _run(
        self,
        network: nn.Module,
        context: Context,
        levels: Sequence[float] = (),  # noqa: ARG002 -- it has none
    ) -> Block:
        assert isinstance(network, Forecaster)
        return Block(network.forecast(context.past, context.observed, context.past_covariates))

    # Training

    def _measure(self, train: Sequence[Series]) -> Features:
        return super()._measure(train) if self.config.normalize_instances else Features.of(train)

    def _optimization(self, network: nn.Module) -> Averaging:
        return Averaging(network, self.config)

    def _new_network(self) -> Forecaster:
        features = self.features
        return Forecaster(features.num_channels, len(features.covariates), self.config)

    def _windows(self, series: Sequence[Series], horizon: int = 1) -> Windows:
        """Cut windows; the contrast looks at contexts only, whatever follows them."""
        known = [self._readable(one, one) for one in series]
        return Windows(
            [replace(one, target=self._scaler(one.target).apply(one.target)) for one in known],
            context_length=self.config.context_length,
            horizon=horizon,
            stride=self.config.stride,
        )

    def _validation_windows(self, validation: Sequence[Series]) -> Windows | None:
        """Cut the windows that choose penalties and calibrate, with the whole horizon."""
        if not validation:
            return None
        return self._from_first_step(self._windows(validation, self.config.horizon))

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

    def _load_model_weights(self, path: Path) -> None:
        super()._load_model_weights(path)
        if self.calibration_ is None:
            raise BadData("the weights hold no calibration.json; save them anew")

    @classmethod
    def tiny(cls) -> Self:
        sizes = {"context_length": 32, "horizon": 30, "hidden_dim": 8, "num_layers": 3}
        model = cls(Ts2VecConfig(device="cpu", representation_dim=12, **sizes))
        model._draw_weights()
        model.calibration_ = ConformalCalibration.assumed(30)
        return model


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
