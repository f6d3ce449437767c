"""The `transformers` port of TimesFM 2.0: loaded strictly, mended, and run block by block."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import TimesFmConfig, TimesFmModelForPrediction
from transformers.models.timesfm.modeling_timesfm import TimesFmModel
from transformers.utils import logging as transformers_logging

from forecast.core.errors import BadData

transformers_logging.disable_progress_bar()  # a bar a load

_FLAT = 1e-6  # the authors' tolerance of a standard deviation


def load(folder: Path, device: torch.device) -> TimesFmModelForPrediction:
    """Load a checkpoint in the transformers layout, in float32.

    Raises:
        BadData: it is another model's, holds no safetensors, or lacks tensors.
    """
    _check_config(folder)
    if not any(folder.glob("model*.safetensors")):
        raise BadData("the checkpoint holds no model.safetensors, the only format that is read")
    try:
        loaded: Any = TimesFmModelForPrediction.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported as mismatched, and refused below
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise BadData("the checkpoint's model.safetensors is damaged; fetch it again") from error
    network, loading = loaded
    if wrong := sorted(map(str, loading["missing_keys"] | loading["mismatched_keys"])):
        raise BadData(
            f"{len(wrong)} tensors of the network are not in the checkpoint, or of another shape:"
            f" {wrong[0]}"
        )
    network.decoder._timesfm_masked_mean_std = masked_moments
    ready: TimesFmModelForPrediction = network.requires_grad_(False).eval().to(device)
    return ready


def _check_config(folder: Path) -> None:
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise BadData("the checkpoint holds no readable config.json") from error
    if kind != TimesFmConfig.model_type:
        raise BadData(
            f"the checkpoint's model_type is {kind!r}, not {TimesFmConfig.model_type!r}: it is"
            " not TimesFM 2.0 in the transformers layout"
        )


def masked_moments(
    patches: torch.Tensor, padding: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find mean and standard deviation [N] of the first patch with three observed steps.

    The port divides by 1e-6 where that patch is flat, so that a series which begins with
    zeros is forecast on a scale of its own; the authors' own code divides by 1 there, and so
    does this.
    """
    mean, deviation = TimesFmModel._timesfm_masked_mean_std(patches, padding)
    return mean, torch.where(deviation < _FLAT, 1.0, deviation)


@torch.inference_mode()
def run(
    network: TimesFmModelForPrediction,
    targets: Sequence[torch.Tensor],
    classes: Sequence[int],
    context: int,
    backcast: bool,
) -> torch.Tensor:
    """Forecast one block of each target [T]: [N, B + 128, K], the mean and the quantiles.

    Args:
        classes: N frequency classes, 0 to 2.
        context: steps that every target is padded or cut to, a multiple of the patch.
        backcast: put the forecast of the context after its first patch (B steps) in front.
    """
    answer = network(
        past_values=targets,
        freq=classes,
        forecast_context_len=context,
        return_forecast_on_context=backcast,
        truncate_negative=False,  # it would look at the batch, not at each series
    )
    heads: torch.Tensor = answer.full_predictions
    return heads
