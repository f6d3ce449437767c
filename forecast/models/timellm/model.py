"""Time-LLM: trained on your own series, on top of a language model that stays as it is."""

import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import save_file
from torch import nn

from forecast.core.errors import ModelNotReady
from forecast.core.types import Series
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.features import Features
from forecast.models.base.torch.model import load_weights
from forecast.models.base.torch.network_model import NetworkModel
from forecast.models.timellm.language import LanguageModel, load_language_model
from forecast.models.timellm.network import Reprogramming, TimeLlmNetwork
from forecast.models.timellm.spec import SPEC, TimeLlmConfig
from forecast.models.timellm.tiny import write_tiny_language_model

WEIGHTS_FILE = "reprogramming.safetensors"
LANGUAGE_FOLDER = "language_model"


class TimeLlmModel(NetworkModel):
    """Loaded from a plain language model it can be trained; from its own weights, forecast.

    What is saved holds the language model too, those layers of it that are used.
    """

    spec = SPEC
    config: TimeLlmConfig
    features: Features = Features()
    language: LanguageModel | None = None
    shaping_options = (
        "context_length",
        "horizon",
        "quantile_levels",
        "hidden_dim",
        "num_attention_heads",
        "head_dim",
        "patch_length",
        "patch_stride",
        "num_prototypes",
    )

    @property
    def network(self) -> TimeLlmNetwork:
        """The trained network.

        Raises:
            ModelNotReady: there is none yet.
        """
        if self.model_ is None and self.language is not None:
            raise ModelNotReady("only the language model is loaded; train on top of it first")
        network: TimeLlmNetwork = super().network
        return network

    # Training

    def _new_network(self) -> TimeLlmNetwork:
        return TimeLlmNetwork(self.config, self._language(), self._outputs)

    def _training_network(self, train: Sequence[Series]) -> nn.Module:
        if self._is_new:
            return super()._training_network(train)
        copied = deepcopy(self.network.reprogramming)  # beside the same language model
        return TimeLlmNetwork(self.config, self._language(), self._outputs, copied)

    @property
    def _outputs(self) -> int:
        return 1 + len(self.config.quantile_levels)

    def _language(self) -> LanguageModel:
        if self.language is None:
            raise ModelNotReady(
                "Time-LLM is trained on top of a language model; name one as the source of its"
                " weights, such as hf:openai-community/gpt2"
            )
        return self.language

    # Weights

    def _save_model_weights(self, path: Path) -> None:
        save_file(self.network.reprogramming.state_dict(), path / WEIGHTS_FILE)
        self.features.write(path)
        self._save_calibration(path)
        self._language().write(path / LANGUAGE_FOLDER)

    def _load_model_weights(self, path: Path) -> None:
        device = torch.device(self.device)
        is_ours = (path / LANGUAGE_FOLDER).is_dir()
        folder = path / LANGUAGE_FOLDER if is_ours else path
        self.language = load_language_model(folder, self.config.num_layers, device)
        if not is_ours:
            return
        self.features = Features.read(path)
        self.calibration_ = ConformalCalibration.load(path)
        trained = Reprogramming(self.config, self.language, self._outputs)
        trained = load_weights(trained, path / WEIGHTS_FILE, self.shaping_options)
        network = TimeLlmNetwork(self.config, self.language, self._outputs, trained)
        self.model_ = network.to(device).eval()

    @classmethod
    def tiny(cls) -> Self:
        config = TimeLlmConfig(
            device="cpu",
            context_length=32,
            horizon=30,
            hidden_dim=8,
            num_attention_heads=2,
            head_dim=8,
            patch_length=8,
            patch_stride=4,
            num_prototypes=16,
            quantile_levels=(0.1, 0.5, 0.9),
        )
        model = cls(config)
        with tempfile.TemporaryDirectory() as folder:
            write_tiny_language_model(Path(folder))
            model._load_model_weights(Path(folder))
        model._draw_weights()
        return model
