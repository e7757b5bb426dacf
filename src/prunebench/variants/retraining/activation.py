"""Another activation in a network that is about to be retrained.

onnxruntime folds a ReLU into the integer convolution before it, and between two of them runs SiLU
as operators of their own. The retraining pays back what the network loses by it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.common.errors import ConfigError
from prunebench.config.strategy_settings import Activation
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.structure import REPLACEABLE, REPLACED_KEY, activated

if TYPE_CHECKING:
    from prunebench.variants.checkpoint import Network

CLASSES: dict[Activation, str] = {"relu": "ReLU", "hardswish": "Hardswish"}
"""Of torch.nn."""


def check_replaceable(network: Network, activation: Activation, model: str) -> None:
    """Refuse, with a ConfigError, a network in which nothing could be replaced."""
    kinds = {type(layer.act).__name__ for layer in activated(network)}
    if kinds & set(REPLACEABLE):
        return
    has = f"it has {' and '.join(sorted(kinds))}" if kinds else "it has no activations"
    raise ConfigError(
        f"{activation} takes the place of {' and '.join(REPLACEABLE)}, which {model} has nowhere "
        f"({has})",
        where="retrain.activation",
        fix="set it to keep",
    )


def with_activation(checkpoint: Path, activation: Activation, target: Path) -> Path:
    """A checkpoint with every SiLU replaced: ``target``, or the given one, if it has none."""
    network: Any = load_checkpoint(checkpoint)
    if not replace_activations(network, activation):
        return checkpoint
    save_checkpoint(network, target, {"step": "replace activations"})
    return target


def replace_activations(network: Network, activation: Activation) -> int:
    """Replace every SiLU of a network in place, and say how many layers had one.

    The network's description says so too, by Ultralytics' own key, so that what is built from it
    anew computes alike.
    """
    from torch import nn

    layers = [one for one in activated(network) if type(one.act).__name__ in REPLACEABLE]
    kind = CLASSES[activation]
    if layers:
        network.yaml[REPLACED_KEY] = type(layers[0].act).__name__
        network.yaml["activation"] = f"nn.{kind}()"
    for layer in layers:
        layer.act = getattr(nn, kind)(inplace=True)
    return len(layers)
