"""TiDE: trained on your own series, with covariates of the past, known ahead, and static."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import save_file

from forecast.core.types import ForecastTask, Series
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.distributed import DistributedMixin
from forecast.models.base.lora import LoraMixin
from forecast.models.base.tensor_files import loaded
from forecast.models.base.torch_direct import DirectModel
from forecast.models.spec import Capabilities
from forecast.models.tide.network import Rows, TideNetwork
from forecast.models.tide.spec import SPEC, TideConfig
from forecast.models.tide.static import StaticFeatures

WEIGHTS_FILE = "model.safetensors"
_SHAPING = (
    "context_length",
    "horizon",
    "quantile_levels",
    "hidden_dim",
    "num_layers",
    "decoder_dim",
    "temporal_decoder_dim",
    "temporal_width",
    "layer_norm",
)


class TideModel(DistributedMixin, LoraMixin, DirectModel):
    """One network for all series and channels; each is forecast alone."""

    spec = SPEC
    config: TideConfig
    static = StaticFeatures()

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, static_covariates=len(self.static) > 0)

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        ignore = getattr(task.options, "ignore_covariates", False)
        self.static.check(series, ignore_covariates=ignore)

    # Training

    @property
    def _known_ahead(self) -> tuple[str, ...]:
        return self.config.known_ahead

    def _measure(self, train: Sequence[Series]) -> None:
        super()._measure(train)
        self.static = StaticFeatures.of(train)

    def _prepare_training(self, train: Sequence[Series]) -> None:
        super()._prepare_training(train)
        for series in train:
            self.static.check(series)

    def _known(self, series: Series) -> Series:
        return self.static.as_rows(series, series)

    def _new_network(self) -> TideNetwork:
        names, known = list(self.features.covariates), self.features.known_ahead
        rows = Rows(
            past=tuple(row for row, name in enumerate(names) if name not in known),
            known=tuple(names.index(name) for name in known),
            static=tuple(range(len(names), len(names) + len(self.static))),
        )
        return TideNetwork(self.config, rows, outputs=1 + len(self.config.quantile_levels))

    # Weights

    def _save_model_weights(self, path: Path) -> None:
        save_file(self.network.state_dict(), path / WEIGHTS_FILE)
        self.features.write(path)
        self._save_calibration(path)
        self.static.write(path)

    def _load_model_weights(self, path: Path) -> None:
        self.features = self.features.read(path)
        self.calibration_ = ConformalCalibration.load(path)
        self.static = self.static.read(path)
        network = loaded(self._new_network(), path / WEIGHTS_FILE, _SHAPING)
        self.model_ = network.to(self.device)

    @classmethod
    def tiny(cls) -> Self:
        model = cls(
            TideConfig(
                device="cpu",
                context_length=32,
                horizon=30,
                hidden_dim=16,
                num_layers=1,
                temporal_decoder_dim=8,
            )
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.model_ = model._new_network().eval()
        return model
