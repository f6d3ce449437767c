"""TiDE: trained on your own series, with covariates of the past, known ahead, and static."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from forecast.core.types import ForecastTask, Series
from forecast.models.base.features import Features
from forecast.models.base.torch.network_model import NetworkModel
from forecast.models.spec import Capabilities
from forecast.models.tide.network import Rows, TideNetwork
from forecast.models.tide.spec import SPEC, TideConfig
from forecast.models.tide.static import StaticFeatures


class TideModel(NetworkModel):
    """One network for all series and channels; each is forecast alone."""

    spec = SPEC
    config: TideConfig
    features: Features = Features()
    static = StaticFeatures()
    shaping_options = (
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

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, static_covariates=len(self.static) > 0)

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        ignore = getattr(task.options, "ignore_covariates", False)
        self.static.check(series, ignore_covariates=ignore)

    # Training

    def _measure(self, train: Sequence[Series]) -> Features:
        self.static = StaticFeatures.of(train)
        return super()._measure(train)

    def _prepare_training(self, train: Sequence[Series]) -> None:
        super()._prepare_training(train)
        for series in train:
            self.static.check(series)

    def _readable(self, series: Series, history: Series) -> Series:
        return self.static.as_rows(series, super()._readable(series, history))

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
        super()._save_model_weights(path)
        self.static.write(path)

    def _load_model_weights(self, path: Path) -> None:
        self.static = StaticFeatures.read(path)
        super()._load_model_weights(path)

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
        model._draw_weights()
        return model
