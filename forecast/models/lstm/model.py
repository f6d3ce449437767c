"""The LSTM: trained on your own series, it forecasts quantiles of several channels."""

from pathlib import Path
from typing import Self

import torch
from safetensors.torch import save_file
from torch import nn

from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.distributed import DistributedMixin
from forecast.models.base.features import Features
from forecast.models.base.tensor_files import loaded
from forecast.models.base.torch_direct import DirectModel, Level, joint_loss
from forecast.models.base.torch_training import Batch
from forecast.models.lstm.network import SegmentLstm, Shape
from forecast.models.lstm.spec import SPEC, LstmConfig

WEIGHTS_FILE = "model.safetensors"
_SHAPING = (
    "context_length",
    "horizon",
    "segment_length",
    "quantile_levels",
    "hidden_dim",
    "num_layers",
    "channel_mode",
)


class LstmModel(DistributedMixin, DirectModel):
    """Mean and quantiles of all channels, with covariates of the past and known ahead."""

    spec = SPEC
    config: LstmConfig

    @property
    def _known_ahead(self) -> tuple[str, ...]:
        return self.config.known_ahead

    def _new_network(self) -> SegmentLstm:
        features = self.features
        shape = Shape(features.num_channels, len(features.covariates), len(features.known_ahead))
        return SegmentLstm(shape, self.config)

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        if self.config.loss_unit == "series":
            return super()._training_loss(network, batch)
        level = Level.of(batch.past, batch.past_observed)
        relative = level.apply(batch.past, batch.past_observed)
        answer = network(relative, batch.past_covariates, batch.future_covariates)
        actual = (batch.future - level.center) / level.scale.where(level.scale > 0, 1.0)
        counted = batch.future_observed & (level.scale > 0)
        levels = torch.tensor(self.config.quantile_levels, device=answer.device)
        return joint_loss(answer, actual, counted, levels)

    def _save_model_weights(self, path: Path) -> None:
        save_file(self.network.state_dict(), path / WEIGHTS_FILE)
        self.features.write(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self.features = Features.read(path)
        self.calibration_ = ConformalCalibration.load(path)
        self.model_ = loaded(self._new_network(), path / WEIGHTS_FILE, _SHAPING).to(self.device)

    @classmethod
    def tiny(cls) -> Self:
        config = LstmConfig(
            device="cpu", context_length=32, horizon=30, segment_length=4, hidden_dim=8
        )
        model = cls(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.model_ = model._new_network().eval()
        return model
