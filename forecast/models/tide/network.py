"""TiDE, the Time-series Dense Encoder (Das et al. 2023, arXiv:2304.08424): only dense layers.

Layers have the names that neuralforecast gives them, so that weights can be exchanged.
"""

from typing import NamedTuple

import torch
from torch import nn

from forecast.models.tide.spec import TideConfig


class Rows(NamedTuple):
    """Which rows of the covariates are of which kind.

    Attributes:
        past: known for the past only.
        known: known ahead too.
        static: the same at all steps.
    """

    past: tuple[int, ...] = ()
    known: tuple[int, ...] = ()
    static: tuple[int, ...] = ()


class ResidualBlock(nn.Module):
    """One hidden layer beside a linear way around it, [., inputs] → [., outputs]."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, *, dropout: float, layer_norm: bool
    ) -> None:
        super().__init__()
        self.lin1 = nn.Linear(inputs, hidden)
        self.lin2 = nn.Linear(hidden, outputs)
        self.skip = nn.Linear(inputs, outputs)
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(outputs) if layer_norm else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = self.drop(self.lin2(torch.relu(self.lin1(values))))
        result: torch.Tensor = self.norm(hidden + self.skip(values))
        return result


class TideNetwork(nn.Module):
    """Forecasts each channel alone, by the same weights.

    Args:
        rows: of the covariates.
        outputs: numbers per step.
    """

    def __init__(self, config: TideConfig, rows: Rows, outputs: int) -> None:
        super().__init__()
        self.rows = rows
        self.horizon = config.horizon
        context, width, decoded = config.context_length, config.temporal_width, config.decoder_dim
        inputs = context + len(rows.static)
        # Over the few numbers of a step, a layer norm would leave nothing but its own bias, and
        # of a covariate that is alone nothing but its sign.
        if rows.past:
            self.hist_exog_projection = _narrow(config, len(rows.past), width)
            inputs += context * width
        if rows.known:
            self.futr_exog_projection = _narrow(config, len(rows.known), width)
            inputs += (context + config.horizon) * width
        hidden, layers = config.hidden_dim, config.num_layers
        sizes = [inputs] + [hidden] * layers
        self.dense_encoder = _blocks(config, sizes)
        self.dense_decoder = _blocks(config, [hidden] * layers + [decoded * config.horizon])
        self.temporal_decoder = ResidualBlock(
            decoded + (width if rows.known else 0),
            config.temporal_decoder_dim,
            outputs,
            dropout=config.dropout,
            layer_norm=False,
        )
        self.global_skip = nn.Linear(context, config.horizon * outputs)
        if rows.known:
            self.known_skip = nn.Linear(len(rows.known), outputs, bias=False)
            nn.init.zeros_(self.known_skip.weight)
        # It starts as the linear model that the skip is, and learns what that cannot say.
        for layer in (self.temporal_decoder.lin2, self.temporal_decoder.skip):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, past: torch.Tensor, past_covariates: torch.Tensor, future_covariates: torch.Tensor
    ) -> torch.Tensor:
        """Forecast B series of C channels.

        Args:
            past: [B, C, T].
            past_covariates: [B, K, T].
            future_covariates: [B, F, H], of the rows that are known ahead.

        Returns:
            [B, C, H, O].
        """
        batch, channels, context = past.shape
        alone = past.reshape(batch * channels, context)
        seen, ahead = self._beside(past_covariates, future_covariates)
        beside = [each.repeat_interleave(channels, dim=0) for each in seen]
        decoded = self.dense_decoder(self.dense_encoder(torch.cat([alone, *beside], dim=1)))
        steps = decoded.view(batch * channels, self.horizon, -1)
        told = [each.repeat_interleave(channels, dim=0) for each in ahead]
        answer = self.temporal_decoder(torch.cat([steps, *told], dim=2))
        together: torch.Tensor = answer + self.global_skip(alone).view(answer.shape)
        if self.rows.known:
            effect = self.known_skip(future_covariates.transpose(1, 2))  # [B, H, O]
            together = together + effect.repeat_interleave(channels, dim=0)
        return together.view(batch, channels, self.horizon, -1)

    def _beside(
        self, past: torch.Tensor, future: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Project covariates: what the encoder reads, [B, .], and each step, [B, H, width]."""
        seen, ahead = [], []
        if self.rows.past:
            told = past[:, list(self.rows.past)].transpose(1, 2)  # [B, T, K]
            seen.append(self.hist_exog_projection(told).flatten(1))
        if self.rows.known:
            whole = torch.cat([past[:, list(self.rows.known)], future], dim=2).transpose(1, 2)
            projected = self.futr_exog_projection(whole)  # [B, T + H, width]
            seen.append(projected.flatten(1))
            ahead.append(projected[:, past.shape[2] :])
        if self.rows.static:
            seen.append(past[:, list(self.rows.static), -1])
        return seen, ahead


def _block(config: TideConfig, inputs: int, outputs: int) -> ResidualBlock:
    return ResidualBlock(
        inputs,
        config.hidden_dim,
        outputs,
        dropout=config.dropout,
        layer_norm=config.layer_norm,
    )


def _narrow(config: TideConfig, inputs: int, outputs: int) -> ResidualBlock:
    hidden = config.hidden_dim
    return ResidualBlock(inputs, hidden, outputs, dropout=config.dropout, layer_norm=False)


def _blocks(config: TideConfig, sizes: list[int]) -> nn.Sequential:
    return nn.Sequential(
        *(_block(config, *pair) for pair in zip(sizes[:-1], sizes[1:], strict=True))
    )
