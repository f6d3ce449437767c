"""The smallest family that trains: two linear layers on a window scaled by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.config import NetworkConfig, TrainingBackend
from forecast.models.base.torch.model import TorchModel
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import Windows
from forecast.models.spec import Capabilities, License, ModelSpec

WEIGHTS_FILE = "linear.safetensors"


class LinearConfig(NetworkConfig):
    context_length: int = 16
    horizon: int = 4
    hidden_dim: int = 8
    learning_rate: float = 1e-2
    dropout: float = 0.0
    use_norm: bool = True


SPEC = ModelSpec(
    model_id="linear",
    name="Linear",
    version="1",
    description="Two linear layers",
    default_port=8099,
    model="tests.models.base.linear_model:LinearModel",
    weights=None,
    capabilities=Capabilities(
        zero_shot=False,
        trainable=True,
        fine_tunable=True,
        lora=True,
        multivariate=True,
        missing_values=True,
        quantiles="none",
        max_horizon=64,
    ),
    license=License("Apache-2.0", commercial_use=True, url=""),
    extra="networks",
    config=LinearConfig,
    training_backend=TrainingBackend.PYTORCH,
)


class LinearNetwork(nn.Module):
    """[B, C, T] and its mask → [B, C, H]."""

    def __init__(self, config: LinearConfig) -> None:
        super().__init__()
        self.encoder = nn.Linear(config.context_length, config.hidden_dim)
        self.norm = nn.BatchNorm1d(config.hidden_dim) if config.use_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_dim, config.horizon)

    def forward(self, past: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        count = observed.sum(-1, keepdim=True).clamp(min=1)
        level = (past * observed).sum(-1, keepdim=True) / count
        spread = (((past - level) * observed) ** 2).sum(-1, keepdim=True) / count
        scale = (spread + 1e-5).sqrt()
        hidden = self.encoder((past - level) * observed / scale)  # [B, C, hidden]
        hidden = self.norm(hidden.flatten(0, 1)).view_as(hidden)
        return self.head(self.dropout(torch.tanh(hidden))) * scale + level


class LinearModel(TorchModel):
    spec = SPEC
    config: LinearConfig
    lora_targets = ("encoder",)

    def _training_network(self, train: Sequence[Series]) -> nn.Module:
        return LinearNetwork(self.config) if self.model_ is None else self.model_

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        error = network(batch.past, batch.past_observed) - batch.future
        return (error[batch.future_observed] ** 2).mean()

    def _windows(self, series: Sequence[Series]) -> Windows:
        return Windows(
            series,
            context_length=self.config.context_length,
            horizon=self.config.horizon,
            stride=self.config.stride,
        )

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        return [self._predict_one(series, task.horizon) for series in batch]

    def _predict_one(self, series: Series, horizon: int) -> Forecast:
        steps = self.config.context_length
        path = np.pad(series.target, ((0, 0), (steps, 0)), constant_values=np.nan)
        while path.shape[1] < steps + series.length + horizon:
            past = torch.from_numpy(path[None, :, -steps:]).float()
            with torch.inference_mode():
                block = self.network(past.nan_to_num(), ~past.isnan())[0]
            path = np.concatenate([path, block.double().numpy()], axis=1)
        mean = path[:, steps + series.length :][:, :horizon]
        return Forecast(mean, np.empty((len(mean), 0, horizon)), ())

    def _save_model_weights(self, path: Path) -> None:
        save_file(self.network.state_dict(), path / WEIGHTS_FILE)

    def _load_model_weights(self, path: Path) -> None:
        network = LinearNetwork(self.config)
        network.load_state_dict(load_file(path / WEIGHTS_FILE))
        self.model_ = network.to(self.device).eval()

    @classmethod
    def tiny(cls) -> Self:
        model = cls(LinearConfig(device="cpu"))
        torch.manual_seed(0)
        model.model_ = LinearNetwork(model.config).eval()
        return model


def waves(count: int = 4, length: int = 120, seed: int = 0) -> list[Series]:
    """Sines of one period and any phase, with a little noise."""
    rng = np.random.default_rng(seed)
    steps = np.arange(length)
    return [
        Series(
            target=(
                10 * np.sin(2 * np.pi * (steps / 12 + rng.random()))
                + 0.1 * rng.standard_normal(length)
            )[None],
            item_id=f"wave {number}",
        )
        for number in range(count)
    ]


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}
