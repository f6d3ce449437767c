"""Chronos-T5: values as tokens of a language model, whose sampled paths are the forecast."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from chronos.chronos import ChronosConfig, MeanScaleUniformBins
from transformers import T5ForConditionalGeneration
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.modeling_outputs import BaseModelOutput

from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.model import options_of
from forecast.models.base.scaling import Scaler
from forecast.models.base.torch.training import Batch
from forecast.models.chronos.network import LONGEST_UNROLL, Network, float32, with_gaps
from forecast.models.chronos.spec import SPEC, ChronosOptions

PATHS_AT_ONCE = 32
"""Paths decoded together: each keeps keys and values of the whole context in memory."""

_FINEST = 1e-3  # of the mean size; a token of the published checkpoints is 7e-3 wide
_NO_LABEL = -100  # what cross-entropy leaves out

Draw = Callable[[torch.Tensor], torch.Tensor]


class T5Network(Network):
    """A T5 over tokens (amazon/chronos-t5-*).

    Series are sampled one by one, each with a generator of its own: sharing a call would
    change the last bits of the probabilities and now and then a path with them.
    """

    samples = True

    def __init__(self, module: Any) -> None:
        self.config = ChronosConfig(**module.config.chronos_config)
        if self.config.tokenizer_class != MeanScaleUniformBins.__name__:
            raise BadData(f"tokenizer {self.config.tokenizer_class!r} is not one of Chronos-T5")
        self.module = module
        self.tokenizer = self.config.create_tokenizer()
        self.block = self.config.prediction_length
        self.capabilities = replace(
            SPEC.capabilities,
            multivariate=False,
            past_covariates=False,
            future_covariates=False,
            categorical_covariates=False,
            shift_equivariant=False,  # it divides by the mean of the absolute values
            max_context=self.config.context_length,
            max_horizon=LONGEST_UNROLL * self.block,
        )

    @staticmethod
    def module_class() -> Any:
        return T5ForConditionalGeneration

    def predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        return [self._forecast(series, task) for series in batch]

    def scaler_of(self, target: FloatArray) -> Scaler[FloatArray]:
        """Divide by the mean size, as the tokens are scaled; no mean is taken off.

        Except where the values differ by a small part of a token: those of a large level with
        small steps on it would all be the same.
        """
        size = np.nanmean(np.abs(target), axis=-1, keepdims=True)
        spread = Scaler.of(target)
        if 0 < spread.scale.item() < _FINEST * size.item():
            return spread
        return Scaler(np.zeros_like(size), size)

    def loss(self, module: Any, batch: Batch) -> torch.Tensor:
        """Cross-entropy of the tokens of the future, scaled by the context as it is."""
        past = with_gaps(batch.past, batch.past_observed)[:, 0].cpu()
        future = with_gaps(batch.future, batch.future_observed)[:, 0].cpu()
        ids, mask, scale = self.tokenizer.context_input_transform(past)
        lacking = self.block - future.shape[-1]  # labels are of this one length
        future = torch.nn.functional.pad(future, (0, lacking), value=torch.nan)
        labels, is_label = self.tokenizer.label_input_transform(future, scale)
        device = batch.past.device
        loss: torch.Tensor = module(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            labels=labels.masked_fill(~is_label, _NO_LABEL).to(device),
        ).loss
        return loss

    def _forecast(self, series: Series, task: ForecastTask) -> Forecast:
        scaling = self.scaler_of(series.target)
        context = torch.from_numpy(float32(scaling.apply(series.target)))  # [1, T]
        paths = self._paths(context, task, self._draw(task)).double().numpy()  # [S, H]
        levels = scaling.restore(np.quantile(paths, task.quantile_levels, axis=0)[None])
        mean = scaling.restore(paths.mean(axis=0)[None])
        return Forecast(mean, levels, task.quantile_levels, self.warnings(task.horizon))

    def _paths(self, context: torch.Tensor, task: ForecastTask, draw: Draw) -> torch.Tensor:
        """Sample S paths of H steps, block by block, each after the median of the last."""
        blocks: list[torch.Tensor] = []
        for done in range(0, task.horizon, self.block):
            ids, mask, scale = self.tokenizer.context_input_transform(context)
            steps = min(self.block, task.horizon - done)
            paths = task.num_samples or self.config.num_samples
            tokens = self._tokens(ids, mask, (paths, steps), draw)
            values = self.tokenizer.output_transform(tokens[None].cpu(), scale)[0]  # [S, steps]
            blocks.append(values)
            context = torch.cat([context, values.median(dim=0, keepdim=True).values], dim=-1)
        return torch.cat(blocks, dim=-1)

    def _tokens(
        self, ids: torch.Tensor, mask: torch.Tensor, shape: tuple[int, int], draw: Draw
    ) -> torch.Tensor:
        """Sample tokens [S, steps] after one context of tokens [1, T]."""
        device = self.module.device
        mask = mask.to(device)
        encoded = self.module.get_encoder()(input_ids=ids.to(device), attention_mask=mask)
        hidden = encoded.last_hidden_state
        paths, steps = shape
        return torch.cat(
            [
                self._decode(hidden, mask, (min(PATHS_AT_ONCE, paths - first), steps), draw)
                for first in range(0, paths, PATHS_AT_ONCE)
            ]
        )

    def _decode(
        self, hidden: torch.Tensor, mask: torch.Tensor, shape: tuple[int, int], draw: Draw
    ) -> torch.Tensor:
        """Continue one encoded context [1, T, D] by tokens of the given shape."""
        paths, steps = shape
        memory = BaseModelOutput(last_hidden_state=hidden.expand(paths, -1, -1))
        start = self.module.config.decoder_start_token_id
        tokens = torch.full((paths, 1), start, device=hidden.device)
        cache = None
        for _ in range(steps):
            answer = self.module(
                encoder_outputs=memory,
                attention_mask=mask.expand(paths, -1),
                decoder_input_ids=tokens[:, -1:],
                past_key_values=cache,
                use_cache=True,
            )
            cache = answer.past_key_values
            tokens = torch.cat([tokens, draw(answer.logits[:, -1].float())], dim=-1)
        return tokens[:, 1:]

    def _draw(self, task: ForecastTask) -> Draw:
        """Make the function from logits [S, V] to sampled tokens [S, 1]."""
        warpers = self._warpers(options_of(task))
        generator = torch.Generator(self.module.device).manual_seed(task.seed)
        end = self.config.eos_token_id

        def draw(logits: torch.Tensor) -> torch.Tensor:
            logits[:, end] = -torch.inf  # a path has all its steps
            chances = warpers(None, logits).softmax(dim=-1)
            return torch.multinomial(chances, 1, generator=generator)

        return draw

    def _warpers(self, options: Any) -> Any:
        """Collect what reshapes a token's distribution: as the request says, or the checkpoint."""
        assert isinstance(options, ChronosOptions)
        temperature = options.temperature or self.config.temperature
        top_k = options.top_k or self.config.top_k
        top_p = options.top_p or self.config.top_p
        warpers = LogitsProcessorList([TemperatureLogitsWarper(float(temperature))])
        if top_k:
            warpers.append(TopKLogitsWarper(top_k))
        if top_p < 1:
            warpers.append(TopPLogitsWarper(top_p))
        return warpers
