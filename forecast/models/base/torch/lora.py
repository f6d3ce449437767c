"""Low-rank adapters, trained in place of all weights and merged into them afterwards."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from torch import nn

from forecast.core.errors import InvalidRequest, MissingLibrary
from forecast.models.base.config import LoraConfig

_ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d)
_SHOWN = 12  # names of layers in a message


def with_adapters(
    network: nn.Module, lora: LoraConfig, default: tuple[str, ...] | str
) -> nn.Module:
    """Freeze a network and put adapters beside some of its layers.

    Low-rank adaptation is Hu et al. 2021, arXiv:2106.09685.

    Args:
        default: the layers that get an adapter where the configuration names none: names of
            modules, whole or their last parts, or one regular expression for the whole name.

    Raises:
        MissingLibrary: peft is not installed; training everything instead would be a surprise.
        InvalidRequest: a name matches no layer.
    """
    peft = _peft()
    asked = default if lora.target_modules is None else lora.target_modules
    layers = _targets(network, asked, _saved(network, lora.modules_to_save))
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="|".join(re.escape(name) for name in layers),
        modules_to_save=list(lora.modules_to_save) or None,
    )
    with _embeddings_named(network):
        adapted: nn.Module = peft.get_peft_model(network, config)
    return adapted


def merged(network: nn.Module) -> nn.Module:
    """Merge the adapters into the weights: the result needs neither peft nor what it began as."""
    plain: nn.Module = network.merge_and_unload()  # type: ignore[operator]  # of a PeftModel
    return plain.requires_grad_(True)


def _peft() -> ModuleType:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"training adapters needs {error.name}, which is not installed;"
            " install it with: pip install 'forecast-gateway[lora]'"
        ) from error
    module: ModuleType = peft
    return module


def _targets(network: nn.Module, asked: tuple[str, ...] | str, saved: list[str]) -> list[str]:
    """Name in whole the layers that get an adapter: those asked for, outside the saved ones."""
    layers = [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, _ADAPTABLE)
        and not any(name == one or name.startswith(f"{one}.") for one in saved)
    ]
    if isinstance(asked, str):
        matched = [name for name in layers if re.fullmatch(asked, name)]
        if not matched:
            raise _no_such_layer("target_modules", asked, layers)
        return matched
    for name in asked:
        if not any(_is_any(layer, (name,)) for layer in layers):
            raise _no_such_layer("target_modules", name, layers)
    return [name for name in layers if _is_any(name, asked)]


def _saved(network: nn.Module, asked: tuple[str, ...]) -> list[str]:
    """Name in whole the modules that are trained whole."""
    modules = [name for name, _ in network.named_modules() if name]
    for name in asked:
        if not any(_is_any(module, (name,)) for module in modules):
            raise _no_such_layer("modules_to_save", name, modules)
    return [module for module in modules if _is_any(module, asked)]


def _is_any(module: str, names: tuple[str, ...]) -> bool:
    """Whether a module has one of these names, whole or as the last part of its own."""
    return any(module == name or module.endswith(f".{name}") for name in names)


def _no_such_layer(field: str, asked: str, layers: list[str]) -> InvalidRequest:
    last_parts = sorted({name.rpartition(".")[2] for name in layers})
    shown = ", ".join(last_parts[:_SHOWN]) + (", …" if len(last_parts) > _SHOWN else "")
    return InvalidRequest.field(
        f"/lora/{field}", f"{asked!r} matches no layer that can be chosen; there are {shown}"
    )


@contextmanager
def _embeddings_named(network: nn.Module) -> Iterator[None]:
    """Answer peft, which asks a network of transformers for the embeddings of its tokens.

    One that forecasts may have none to name; then nothing is tied to them either.
    """
    try:
        known = network.get_input_embeddings() is not None  # type: ignore[operator]
    except AttributeError:  # not of transformers: peft does not ask
        known = True
    except NotImplementedError:
        known = False
    if known:
        yield
        return
    network.get_input_embeddings = nn.Module  # type: ignore[assignment]  # makes an empty one
    try:
        yield
    finally:
        del network.get_input_embeddings
