"""The network of Chen et al. 2023 (arXiv:2303.06053, section 3), with reversible normalisation.

Layers, their order and the normalisation over steps and channels together are those of the
authors' own `tsmixer_rev_in`.
"""

import json
from pathlib import Path
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from forecast.core.errors import BadData
from forecast.models.base.scaling import Scaler

NETWORK_FILE, WEIGHTS_FILE = "network.json", "model.safetensors"
_LEAST_GAIN = 1e-10  # as the authors do: it might reach 0


class Architecture(BaseModel):
    """`network.json`: the sizes of a network, and what its channels are called.

    Attributes:
        channels: names; empty where the series had none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    context_length: int = Field(ge=1)
    horizon: int = Field(ge=1)
    num_channels: int = Field(ge=1)
    channels: tuple[str, ...] = ()
    hidden_dim: int = Field(ge=1)
    num_layers: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)


class TSMixerNetwork(nn.Module):
    """Forecasts all channels together: [B, C, T] to [B, C, H]."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        blocks = [_Block(architecture) for _ in range(architecture.num_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(architecture.context_length, architecture.horizon)
        self.gain = nn.Parameter(torch.ones(architecture.num_channels, 1))
        self.offset = nn.Parameter(torch.zeros(architecture.num_channels, 1))
        self.apply(_initialise)

    def forward(self, past: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Forecast contexts without gaps; `observed` tells which steps to standardise by."""
        scaler = Scaler.of(past, observed)
        level, scale = scaler.center.float(), scaler.scale.where(scaler.scale > 0, 1.0).float()
        hidden = (past - level) / scale * self.gain + self.offset
        for block in self.blocks:
            hidden = block(hidden)
        gain = self.gain + _LEAST_GAIN
        answer: torch.Tensor = (self.head(hidden) - self.offset) / gain * scale + level
        return answer

    def save(self, folder: Path) -> None:
        """Write `network.json` and `model.safetensors`."""
        (folder / NETWORK_FILE).write_text(self.architecture.model_dump_json(indent=2) + "\n")
        save_file(
            {name: value.cpu() for name, value in self.state_dict().items()}, folder / WEIGHTS_FILE
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            BadData: the files are missing, damaged or do not fit.
        """
        try:
            document = json.loads((folder / NETWORK_FILE).read_text())
            network = cls(Architecture(**document))
            network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        except (OSError, SafetensorError, RuntimeError, TypeError, ValueError) as error:
            raise BadData(
                f"the folder holds no TSMixer of ours: {NETWORK_FILE} and {WEIGHTS_FILE}"
            ) from error
        return network.eval()


class _Block(nn.Module):
    """Mixes the steps of each channel, then the channels of each step; adds both."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        steps, channels = architecture.context_length, architecture.num_channels
        self.step_norm = _Norm(channels * steps, eps=1e-3)
        self.steps = nn.Linear(steps, steps)
        self.channel_norm = _Norm(channels * steps, eps=1e-3)
        self.widen = nn.Linear(channels, architecture.hidden_dim)
        self.narrow = nn.Linear(architecture.hidden_dim, channels)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map [B, C, T] to [B, C, T]."""
        normed = self.step_norm(hidden.flatten(1)).view_as(hidden)
        hidden = hidden + self.dropout(torch.relu(self.steps(normed)))
        normed = self.channel_norm(hidden.flatten(1)).view_as(hidden)
        wide = self.dropout(torch.relu(self.widen(normed.transpose(1, 2))))
        mixed: torch.Tensor = hidden + self.dropout(self.narrow(wide)).transpose(1, 2)
        return mixed


class _Norm(nn.BatchNorm1d):
    """Batch normalisation that lets a batch of one window pass by the averages so far."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Normalise [B, D]."""
        if self.training and len(values) == 1:
            return nn.functional.batch_norm(
                values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(values)


def _initialise(module: nn.Module) -> None:
    """Draw weights as Keras does, which the authors use."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
