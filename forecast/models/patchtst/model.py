"""PatchTST behind the one interface of every model."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import transformers
from torch import nn
from transformers import PatchTSTForPrediction

from forecast.core.types import ForecastTask
from forecast.models.base.conformal import POINT_LEVELS, ConformalCalibration
from forecast.models.base.torch.network_model import (
    LONGEST_UNROLL,
    Block,
    Context,
    Lengths,
    NetworkModel,
    context_of,
    mean_where,
)
from forecast.models.base.torch.training import Batch
from forecast.models.patchtst.checkpoint import load_network
from forecast.models.patchtst.distribution import (
    Parameters,
    mean_of,
    negative_log_likelihood,
    quantiles_of,
)
from forecast.models.patchtst.spec import SPEC, PatchTSTConfig
from forecast.models.patchtst.tiny import write_tiny


class PatchTSTModel(NetworkModel):
    """One network for all channels: each is forecast for itself, by the same weights."""

    spec = SPEC
    config: PatchTSTConfig
    lora_targets = ("q_proj", "k_proj", "v_proj", "out_proj")
    standardizes_windows = False
    most_blocks = LONGEST_UNROLL

    def _loaded_lengths(self) -> Lengths:
        config = self.network.config
        return Lengths(config.context_length, config.prediction_length)

    def _own_levels(self) -> tuple[float, ...]:
        """A network with a distribution answers any level; it is calibrated at these."""
        has_quantiles = self.model_ is not None and self.model_.distribution_output is not None
        return POINT_LEVELS if has_quantiles else ()

    def _asked_levels(self, task: ForecastTask) -> tuple[float, ...]:
        if not self._own_levels() or not task.quantile_levels:
            return ()
        calibration = self.calibration_ if task.intervals != "native" else None
        return calibration.levels if calibration else task.quantile_levels

    def _new_network(self) -> nn.Module:
        network: nn.Module = drawn_as_authors_do(
            PatchTSTForPrediction(architecture_of(self.config))
        )
        return network

    def _run(self, network: nn.Module, context: Context, levels: Sequence[float] = ()) -> Block:
        rows = context.past.shape[:2]
        answer = _call(network, context)
        if not isinstance(answer.prediction_outputs, tuple):
            return Block(_unflattened(answer.prediction_outputs[..., 0], rows))
        location, scale = _standardisation(answer)
        parameters = _parameters(answer)
        mean = mean_of(parameters) * scale + location
        quantiles = quantiles_of(parameters, levels) * scale[..., None] + location[..., None]
        return Block(_unflattened(mean, rows), _unflattened(quantiles, rows))

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        answer = _call(network, context_of(batch))
        future, observed = batch.future.flatten(0, 1), batch.future_observed.flatten(0, 1)
        if not isinstance(answer.prediction_outputs, tuple):
            error = answer.prediction_outputs[..., 0] - future
            return mean_where(error.square(), observed)
        location, scale = _standardisation(answer)
        loss = negative_log_likelihood(_parameters(answer), (future - location) / scale)
        return mean_where(loss + scale.log(), observed)

    def _save_model_weights(self, path: Path) -> None:
        self.network.save_pretrained(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self.model_ = load_network(path, torch.device(self.device))
        self.calibration_ = ConformalCalibration.load(path)

    @classmethod
    def tiny(cls, variant: str = "mse") -> Self:
        """Make a tiny checkpoint that forecasts the mean (`mse`) or a distribution (`nll`)."""
        with tempfile.TemporaryDirectory() as folder:
            write_tiny(Path(folder), variant)
            return cls.load_model(Path(folder), device="cpu")


def architecture_of(config: PatchTSTConfig) -> transformers.PatchTSTConfig:
    """Translate the options to the library's, as the paper has them."""
    return transformers.PatchTSTConfig(
        num_input_channels=1,
        context_length=config.context_length,
        prediction_length=config.horizon,
        patch_length=config.patch_length,
        patch_stride=config.patch_stride,
        d_model=config.hidden_dim,
        num_attention_heads=config.num_attention_heads,
        num_hidden_layers=config.num_layers,
        ffn_dim=config.ffn_dim,
        attention_dropout=config.attention_dropout,
        positional_dropout=config.dropout,
        ff_dropout=config.dropout,
        path_dropout=config.dropout,
        head_dropout=config.head_dropout,
        positional_encoding_type="random",
        pre_norm=False,
        pooling_type=None,
        scaling="std",
        loss=config.loss,
        distribution_output="student_t",
    )


def drawn_as_authors_do(network: PatchTSTForPrediction) -> PatchTSTForPrediction:
    """Draw the first weights of layers and positions anew.

    The library draws layers from N(0, 0.02²) and positions from N(0, 1). For layers as narrow
    as the paper's that is too little and too much: training starts worse and ends worse.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    with torch.no_grad():
        network.model.encoder.positional_encoder.position_enc.uniform_(-0.02, 0.02)
    return network


def _call(network: nn.Module, context: Context) -> Any:
    """Run the network on every channel as a series of its own: [B, C, T] → [B · C, H, 1]."""
    return network(
        past_values=context.past.flatten(0, 1)[..., None],
        past_observed_mask=context.observed.flatten(0, 1)[..., None],
    )


def _unflattened(values: torch.Tensor, rows: torch.Size) -> torch.Tensor:
    return values.reshape(*rows, *values.shape[1:])


def _parameters(answer: Any) -> Parameters:
    """Read the parameters of the distributions of the standardised future: [B · C, H] each."""
    return tuple(part[..., 0] for part in answer.prediction_outputs)


def _standardisation(answer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Read how the network standardised each context: [B · C, 1] each."""
    return answer.loc[..., 0], answer.scale[..., 0]
