"""A network in training that computes as its INT8 file will: with values rounded to 8 bits.

What ``int8.quantizer`` puts on integers is rounded here, with the same grids: weights with one
scale per output channel, the input of a convolution and its result (BatchNorm is folded into it)
with one scale per tensor. A scale comes from the smallest and the largest value of the batch, so
nothing is learnt beside the weights: the network stays as it is, a training that was interrupted
goes on as if it had not been, and the file's ranges are calibrated as any other's. Gradients pass a
rounding as if it were none.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import DFL

from prunebench.variants.int8.float_layers import DOT_PRODUCT

if TYPE_CHECKING:
    from prunebench.variants.checkpoint import Network

LEVELS = 255  # Steps of a grid of unsigned 8 bits.
LARGEST = 127  # Of a weight's, which is symmetric.
SMALLEST = 1e-8  # Of a scale: nothing is divided by zero.


def round_to_integers(network: Network) -> None:
    """Let a network compute so from now on; where it does already, nothing changes."""
    for conv, norm, act in on_integers(network):
        conv.forward = partial(_convolve, conv, rounds=norm is None)
        # A ReLU becomes part of the convolution, so its result is the first that is rounded: where
        # the next convolution takes it.
        if norm is not None and not isinstance(act, nn.ReLU):
            norm.forward = partial(_normalise, norm)


def round_no_more(network: Network) -> None:
    """Undo ``round_to_integers``, if it was done: nothing of it is left in the network."""
    for conv, norm, _ in on_integers(network):
        for module in filter(None, (conv, norm)):
            module.__dict__.pop("forward", None)


def on_integers(network: Network) -> Iterator[tuple[Any, Any, Any]]:
    """The convolutions ``int8.float_layers`` leaves on integers, each with its BatchNorm, if any,
    and its activation.
    """
    for owner in network.modules():
        if isinstance(owner, DFL):  # It decodes.
            continue
        for conv in owner.children():
            if type(conv) is not nn.Conv2d or (conv.groups == 1 and conv.in_channels < DOT_PRODUCT):
                continue
            normed = getattr(owner, "conv", None) is conv and hasattr(owner, "bn")
            yield conv, owner.bn if normed else None, getattr(owner, "act", None)


def _convolve(conv: Any, x: Tensor, *, rounds: bool) -> Tensor:
    result: Tensor = conv._conv_forward(rounded(x), rounded_weight(conv.weight), conv.bias)
    return rounded(result) if rounds else result


def _normalise(norm: Any, x: Tensor) -> Tensor:
    return rounded(type(norm).forward(norm, x))


def rounded(x: Tensor) -> Tensor:
    """A tensor on a grid of 8 bits that spans its values and 0, as onnxruntime makes one."""
    low, high = (end.detach().float() for end in torch.aminmax(x))
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / LEVELS).clamp(min=SMALLEST)
    zero = (-low / scale).round().int()
    return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, LEVELS).to(x.dtype)


def rounded_weight(weight: Tensor) -> Tensor:
    """A weight on a grid of its own for every output channel.

    BatchNorm, which is folded into it later, scales all of a channel alike, and so its grid.
    """
    scale = (weight.detach().abs().amax((1, 2, 3)).float() / LARGEST).clamp(min=SMALLEST)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scale, zero, 0, -LARGEST, LARGEST)
