"""Time-LLM (Jin et al. 2024, arXiv:2310.01728) out of the layers of neuralforecast."""

from typing import Any, Self

import torch
from neuralforecast.models.timellm import FlattenHead, PatchEmbedding, ReprogrammingLayer
from torch import nn

from forecast.core.errors import InvalidRequest
from forecast.models.timellm.language import LanguageModel
from forecast.models.timellm.prompts import Prompts, tokens_of
from forecast.models.timellm.spec import TimeLlmConfig

_SHORTEST_PROMPT = 16  # tokens


class Reprogramming(nn.Module):
    """All that is trained; the layers have the names that neuralforecast gives them."""

    def __init__(self, config: TimeLlmConfig, language: LanguageModel, outputs: int) -> None:
        super().__init__()
        steps = config.context_length - config.patch_length
        self.patches = steps // config.patch_stride + 2
        self.read = min(config.head_dim, language.width)
        self.patch_embedding = PatchEmbedding(
            config.hidden_dim, config.patch_length, config.patch_stride, config.dropout
        )
        self.mapping_layer = nn.Linear(language.vocabulary, config.num_prototypes)
        self.reprogramming_layer = ReprogrammingLayer(
            config.hidden_dim, config.num_attention_heads, config.head_dim, language.width
        )
        self.output_projection = FlattenHead(
            1, self.read * self.patches, config.horizon * outputs, head_dropout=config.dropout
        )

    def prototypes(self, words: torch.Tensor) -> torch.Tensor:
        """Mix word embeddings: [V, D] → [P, D]."""
        mixed: torch.Tensor = self.mapping_layer(words.T).T
        return mixed

    def tokens(self, rows: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
        """Express the patches of contexts in prototypes: [R, T] → [R, patches, D]."""
        patches, _ = self.patch_embedding(rows[:, None])
        expressed: torch.Tensor = self.reprogramming_layer(patches, prototypes, prototypes)
        return expressed

    def answer(self, hidden: torch.Tensor) -> torch.Tensor:
        """Read the answer off the last outputs of the language model: [R, L, D] → [R, H * O]."""
        last = hidden[:, -self.patches :, : self.read]
        read: torch.Tensor = self.output_projection(last.transpose(1, 2)[:, None])
        return read[:, 0]


class TimeLlmNetwork(nn.Module):
    """A frozen language model reads a prompt and the patches of each channel alone."""

    def __init__(
        self,
        config: TimeLlmConfig,
        language: LanguageModel,
        outputs: int,
        reprogramming: Reprogramming | None = None,
    ) -> None:
        """Put trained layers, or new ones, around a language model.

        Raises:
            InvalidRequest: the context has more patches than the language model reads.
        """
        super().__init__()
        self.llm = language.model
        self.tokenizer = language.tokenizer
        self.reprogramming = reprogramming or Reprogramming(config, language, outputs)
        self.prompts = Prompts(
            config.horizon, config.context_length, config.num_lags, config.domain
        )
        self.horizon = config.horizon
        self.longest_prompt = language.longest - self.reprogramming.patches
        if self.longest_prompt < _SHORTEST_PROMPT:
            raise InvalidRequest(
                f"the language model reads {language.longest} tokens at most, too few for"
                f" {self.reprogramming.patches} patches and a prompt; raise patch_stride or lower"
                " context_length"
            )
        self._prototypes: torch.Tensor | None = None

    def train(self, mode: bool = True) -> Self:
        """Switch the trained layers alone: the language model never drops anything out."""
        super().train(mode)
        self.llm.eval()
        self._prototypes = None
        return self

    def forward(self, past: torch.Tensor, *_: Any) -> torch.Tensor:
        """Forecast [B, C, T] as [B, C, H, O]; takes no covariates."""
        batch, channels, context = past.shape
        rows = past.reshape(batch * channels, context)
        told, mask = self._told(rows)
        tokens = self.reprogramming.tokens(rows, self._mixed())
        read = torch.cat([mask, mask.new_ones(tokens.shape[:2])], dim=1)
        hidden = self.llm(
            inputs_embeds=torch.cat([told, tokens], dim=1),
            attention_mask=read,
            position_ids=(read.cumsum(dim=1) - 1).clamp(min=0),
        ).last_hidden_state
        return self.reprogramming.answer(hidden).view(batch, channels, self.horizon, -1)

    def _told(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed the prompt of each context: [R, L, D], and the mask of what is no padding."""
        texts = [self.prompts.of(row) for row in rows.cpu()]
        ids, mask = tokens_of(self.tokenizer, texts, self.longest_prompt)
        return self.llm.get_input_embeddings()(ids.to(rows.device)), mask.to(rows.device)

    def _mixed(self) -> torch.Tensor:
        """Mix the prototypes, once as long as they do not change."""
        words = self.llm.get_input_embeddings().weight
        if self.training or torch.is_grad_enabled():
            return self.reprogramming.prototypes(words)
        if self._prototypes is None:
            self._prototypes = self.reprogramming.prototypes(words)
        return self._prototypes
