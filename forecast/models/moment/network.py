"""Builds and calls the network of momentfm, with the axes of this project."""

import warnings
from typing import Any

import torch
from momentfm import MOMENTPipeline
from torch import nn

RECONSTRUCTION, FORECASTING = "reconstruction", "forecasting"


def build(config: dict[str, Any]) -> Any:
    """Build a network as its config.json says, with weights drawn at random.

    Args:
        config: with `task_name`, and for `forecasting` the `forecast_horizon`.
    """
    plain = {
        "freeze_embedder": False,
        "freeze_encoder": False,
        "freeze_head": False,
        "enable_gradient_checkpointing": False,
        "model_kwargs": {},
    }
    task = {"task_name": config["task_name"], "forecast_horizon": config.get("forecast_horizon")}
    with warnings.catch_warnings():
        # That a new head has to be trained is seen to by those who call.
        warnings.filterwarnings("ignore", message="Only reconstruction head is pre-trained")
        network = MOMENTPipeline(config | plain, model_kwargs=task)
        network.init()
    network.config.get = network.config.getattr  # peft takes the config of a network for a dict
    return network


def with_new_head(network: Any, config: dict[str, Any]) -> Any:
    """Build a network for another task out of the embedder and encoder of this one.

    Its head is drawn at random, and means nothing before it is trained.
    """
    new = build(config)
    kept = {k: v for k, v in network.state_dict().items() if not k.startswith("head.")}
    lacking = new.load_state_dict(kept, strict=False)
    assert not lacking.unexpected_keys
    assert all(name.startswith("head.") for name in lacking.missing_keys)
    return new


def reconstructed(
    network: Any, past: torch.Tensor, observed: torch.Tensor, horizon: int
) -> torch.Tensor:
    """Forecast by filling in hidden patches after the end: [B, C, H].

    The patches take the places of the oldest ones: of 512 steps, the last 512 - H are read.

    Args:
        past: [B, C, T] without gaps.
        observed: [B, C, T].
    """
    rows = past.shape[:2]
    answer = network.short_forecast(
        x_enc=past.flatten(0, 1)[:, None],
        input_mask=read_mask(observed, network.patch_len).flatten(0, 1),
        forecast_horizon=horizon,
    )
    forecast: torch.Tensor = answer.forecast
    return forecast.reshape(*rows, horizon)


def forecast(network: nn.Module, past: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Forecast by the head that was trained for it: [B, C, H]; arguments as `reconstructed`."""
    rows = past.shape[:2]
    answer = network(
        x_enc=past.flatten(0, 1)[:, None], input_mask=read_mask(observed).flatten(0, 1)
    )
    told: torch.Tensor = answer.forecast
    return told.reshape(*rows, -1)


def read_mask(observed: torch.Tensor, patch: int = 8) -> torch.Tensor:
    """Tell what is read: all from the first observed step on, and always the last patch.

    The network reads whole patches; gaps after the first step have been filled.
    """
    mask = observed.cummax(dim=-1).values.long()
    mask[..., -patch:] = 1
    return mask
