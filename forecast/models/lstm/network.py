"""An LSTM over segments of a series, that forecasts all steps and quantiles at once.

It reads the context in segments of w steps and not step by step, after SegRNN (Lin et al.
2023, arXiv:2308.11200): faster, and less is forgotten. The decoder is an LSTM too, run over the
segments of the horizon from the state in which the context left the encoder. It is told where
it is and what is known ahead, and never its own forecast, so that errors do not add up. Beside
both runs a linear map from context to horizon, the same for all channels, as the
autoregressive part of LSTNet (Lai et al. 2018, arXiv:1703.07015), and a linear effect of what
is known ahead of each step: what is linear is learned in the first pass, and the LSTMs learn
the rest.
"""

import torch
from torch import nn

from forecast.models.base.windows import rounded_up
from forecast.models.lstm.spec import LstmConfig


class SegmentLstm(nn.Module):
    """From a context to the mean and the quantiles of a horizon.

    With channels that are independent, the same weights run on each of them alone, told which
    one it is.

    Args:
        channels: C.
        covariates: K, the known ones among them.
        known: F, covariates that are read over the horizon too.
    """

    def __init__(self, config: LstmConfig, *, channels: int, covariates: int, known: int) -> None:
        super().__init__()
        self.horizon, self.width = config.horizon, config.segment_length
        self.apart = channels if config.channel_mode == "independent" else 1
        self.together = channels // self.apart
        self.outputs = 1 + len(config.quantile_levels)
        hidden = config.hidden_dim
        segments = rounded_up(self.horizon, self.width) // self.width
        self.read = nn.Linear(self.width * (self.together + covariates), hidden)
        self.encoder = _lstm(config)
        self.position = nn.Parameter(0.02 * torch.randn(segments, hidden))
        self.identity = nn.Parameter(0.02 * torch.randn(self.apart, hidden))
        self.known = nn.Parameter(0.02 * torch.randn(self.width * known, hidden))
        self.decoder = _lstm(config)
        self.write = nn.Linear(hidden, self.width * self.together * self.outputs)
        self.dropout = nn.Dropout(config.dropout)
        self.line = nn.Linear(config.context_length, self.horizon, bias=False)
        nn.init.zeros_(self.line.weight)
        self.effects = nn.Parameter(torch.zeros(channels, known))

    def forward(
        self, past: torch.Tensor, past_covariates: torch.Tensor, future_covariates: torch.Tensor
    ) -> torch.Tensor:
        """Forecast contexts that are relative to their own level.

        The network works on differences from the last step, from where a random walk is best
        forecast.

        Args:
            past: [B, C, T].
            past_covariates: [B, K, T].
            future_covariates: [B, F, H].

        Returns:
            [B, C, H, 1 + Q]: the mean, then the quantiles.
        """
        last = past[..., -1:]
        moves = past - last
        own = moves.reshape(-1, self.together, past.shape[-1])  # [N, C or 1, T]
        beside = past_covariates.repeat_interleave(self.apart, dim=0)
        segments = self._cut(torch.cat([own, beside], dim=1))
        _, state = self.encoder(self.dropout(torch.relu(self.read(segments))))
        decoded, _ = self.decoder(self._ahead(future_covariates), state)
        written = self.write(self.dropout(decoded))  # [N, S, w * C * O]
        lacking = self.horizon - future_covariates.shape[-1]
        told = self.effects @ nn.functional.pad(future_covariates, (0, lacking))  # [B, C, H]
        straight = (self.line(moves) + told + last)[..., None]
        answer: torch.Tensor = straight + self._in_order(written, past.shape[1])
        return answer

    def _cut(self, values: torch.Tensor) -> torch.Tensor:
        """Cut [N, D, T], padded at the start, into segments: [N, S, D * w]."""
        padded = nn.functional.pad(values, (-values.shape[-1] % self.width, 0))
        return padded.unfold(-1, self.width, self.width).transpose(1, 2).flatten(2)

    def _ahead(self, covariates: torch.Tensor) -> torch.Tensor:
        """Tell the decoder where it is and what is known: [N, S, hidden]."""
        lacking = self.width * len(self.position) - covariates.shape[-1]
        known = self._cut(nn.functional.pad(covariates, (0, lacking))) @ self.known  # [B, S, .]
        told = known[:, None] + self.position + self.identity[:, None]
        return told.flatten(0, 1)

    def _in_order(self, written: torch.Tensor, channels: int) -> torch.Tensor:
        """Order [N, S, w * C * O] as [B, C, H, O]."""
        steps = self.width * len(self.position)
        shaped = written.reshape(-1, steps, self.together, self.outputs).transpose(1, 2)
        return shaped.reshape(-1, channels, steps, self.outputs)[:, :, : self.horizon]


def _lstm(config: LstmConfig) -> nn.LSTM:
    between = config.dropout if config.num_layers > 1 else 0.0
    size = config.hidden_dim
    return nn.LSTM(size, size, config.num_layers, dropout=between, batch_first=True)
