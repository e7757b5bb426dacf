"""What a network would count if its channel groups had other widths, without pruning it.

Every convolution's channels are a constant plus a multiple of the widths of the groups that
feed it, so parameters and MACs of any allocation follow from one trace of the network.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from ultralytics.nn.modules.block import A2C2f, AAttn, Attention

from prunebench.variants.checkpoint import Network, parameter_count
from prunebench.variants.graph.groups import CONVOLUTIONS, PruningGraph, norm_after
from prunebench.variants.structure import run_watched

Kept = Mapping[str, int]
"""Root of a group to the channels that stay."""


@dataclass(frozen=True)
class Channels:
    """A number of channels: ``fixed`` ones, and those of groups, each by how often they occur."""

    fixed: int
    groups: Mapping[str, int]

    def at(self, kept: Kept) -> int:
        """Their number when every group keeps ``kept`` channels."""
        return self.fixed + sum(times * kept[root] for root, times in self.groups.items())


@dataclass(frozen=True)
class Layer:
    """A convolution of the split network; kernel and stride are in pixels.

    Attributes:
        groups: Groups of a grouped convolution, whose widths never change; 1 for others.
        swept: (height, width) of the pixels every weight meets; (0, 0) where only training runs it.
        per_output: Further parameters per output channel: a bias, a BatchNorm's scale and shift,
            the scale of a residual.
    """

    name: str
    kernel: tuple[int, int]
    stride: int
    inputs: Channels
    outputs: Channels
    depthwise: bool
    transposed: bool
    groups: int
    swept: tuple[int, int]
    per_output: int

    def weights(self, kept: Kept) -> int:
        """Weights of the kernel."""
        area = self.kernel[0] * self.kernel[1]
        inputs = 1 if self.depthwise else self.inputs.at(kept) // self.groups
        return area * inputs * self.outputs.at(kept)

    def macs(self, kept: Kept) -> int:
        """Multiply-accumulates for one image."""
        return self.weights(kept) * self.swept[0] * self.swept[1]


@dataclass(frozen=True)
class Products:
    """The two matrix products of an attention and the softmax between them.

    Attributes:
        outputs: Channels of the values, of which ``head`` are a head, which has ``keys`` keys.
        areas: Parts of the image that attend to themselves alone, each of ``pixels`` pixels.
    """

    name: str
    outputs: Channels
    head: int
    keys: int
    areas: int
    pixels: int
    depthwise: ClassVar[bool] = True  # As such a layer's, its inputs are as wide as its outputs.

    @property
    def inputs(self) -> Channels:
        """As wide as the outputs."""
        return self.outputs

    def macs(self, kept: Kept) -> int:
        """Multiply-accumulates for one image."""
        of_head = self.areas * self.pixels**2 * (self.keys + self.head)
        return self.outputs.at(kept) // self.head * of_head


@dataclass(frozen=True)
class Shapes:
    """Every convolution, in forward order, as a function of its groups' widths (``full``: now).

    ``parameters_now`` counts the network with BatchNorm apart.
    """

    layers: tuple[Layer, ...]
    products: tuple[Products, ...]
    full: Kept
    parameters_now: int

    @property
    def parts(self) -> tuple[Layer | Products, ...]:
        """All that computes something."""
        return *self.layers, *self.products

    def parameters(self, kept: Kept) -> int:
        """Parameters with BatchNorm apart."""
        return self.parameters_now + sum(
            layer.weights(kept)
            - layer.weights(self.full)
            + layer.per_output * (layer.outputs.at(kept) - layer.outputs.at(self.full))
            for layer in self.layers
        )

    def macs(self, kept: Kept) -> int:
        """Multiply-accumulates for one image, of convolutions and attention's products."""
        return sum(part.macs(kept) for part in self.parts)


def shapes_of(graph: PruningGraph, imgsz: tuple[int, int]) -> Shapes:
    """Describe a traced network in eval mode at an image of (height, width) pixels."""
    network: Network = graph.network
    swept = _swept(network, imgsz)
    occurrences = _occurrences(graph)
    full = {group.root: group.width for group in graph.groups}
    layers = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            layers.append(_linear(name, module, occurrences, full))
        if not isinstance(module, CONVOLUTIONS):
            continue
        depthwise = module.groups > 1 and module.groups == module.out_channels
        outs = _channels(module.out_channels, occurrences[module, True], full)
        ins = outs if depthwise else _channels(module.in_channels, occurrences[module, False], full)
        layers.append(
            Layer(
                name=name,
                kernel=(module.kernel_size[0], module.kernel_size[1]),
                stride=module.stride[0],
                inputs=ins,
                outputs=outs,
                depthwise=depthwise,
                transposed=isinstance(module, nn.ConvTranspose2d),
                groups=1 if depthwise else module.groups,
                swept=swept.get(name, (0, 0)),
                per_output=_per_output(network, name, module),
            )
        )
    widths = {layer.name: layer.outputs for layer in layers}
    products = tuple(_products(network, imgsz, widths))
    return Shapes(tuple(layers), products, full, parameter_count(network))


def _per_output(network: nn.Module, name: str, module: Any) -> int:
    block: Any = network.get_submodule(name.removesuffix(".cv2.conv"))
    scaled = isinstance(block, A2C2f) and block.gamma is not None
    return (module.bias is not None) + (2 if norm_after(network, name) else 0) + scaled


def _linear(
    name: str,
    module: nn.Linear,
    occurrences: Mapping[tuple[nn.Module, bool], Counter[str]],
    full: Kept,
) -> Layer:
    """A classification's last layer: a convolution of one pixel."""
    return Layer(
        name=name,
        kernel=(1, 1),
        stride=1,
        inputs=_channels(module.in_features, occurrences[module, False], full),
        outputs=_channels(module.out_features, occurrences[module, True], full),
        depthwise=False,
        transposed=False,
        groups=1,
        swept=(1, 1),
        per_output=int(module.bias is not None),
    )


def _channels(now: int, groups: Mapping[str, int], full: Kept) -> Channels:
    pruned = sum(times * full[root] for root, times in groups.items())
    return Channels(fixed=now - pruned, groups=groups)


def _occurrences(graph: PruningGraph) -> dict[tuple[nn.Module, bool], Counter[str]]:
    """How often each group's channels occur among a convolution's inputs or (True) outputs."""
    found: dict[tuple[nn.Module, bool], Counter[str]] = defaultdict(Counter)
    for group in graph.groups:
        for dependency, channels in group.layers:
            module = dependency.target.module
            if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
                outgoing = graph.is_outgoing(dependency.handler)
                found[module, outgoing][group.root] += len(channels) // group.width
    return found


def _products(
    network: Network, imgsz: tuple[int, int], widths: Mapping[str, Channels]
) -> list[Products]:
    """What every attention multiplies; ``widths`` are those of convolutions by name."""
    found = []

    def note(name: str, module: Any, given: torch.Tensor, _: torch.Tensor) -> None:
        areas = getattr(module, "area", 1)
        found.append(
            Products(
                name=name,
                # The values are as wide as what encodes their positions.
                outputs=widths[f"{name}.pe.conv"],
                head=module.head_dim,
                keys=getattr(module, "key_dim", module.head_dim),
                areas=areas,
                pixels=given.shape[-2] * given.shape[-1] // areas,
            )
        )

    run_watched(network, imgsz, (Attention, AAttn), note)
    return found


def _swept(network: Network, imgsz: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """(height, width) that the kernel of each deployed convolution is applied at, by name."""
    sizes: dict[str, tuple[int, int]] = {}

    def note(name: str, module: Any, given: torch.Tensor, output: torch.Tensor) -> None:
        pixels = given if isinstance(module, nn.ConvTranspose2d) else output
        sizes[name] = (pixels.shape[-2], pixels.shape[-1])

    # Folded, as it is deployed: an end-to-end head drops the branch that it does not export.
    run_watched(copy.deepcopy(network).fuse(verbose=False), imgsz, CONVOLUTIONS, note)
    kernels = {n: m.kernel_size for n, m in network.named_modules() if isinstance(m, CONVOLUTIONS)}
    for name in sizes.keys() - kernels.keys():
        # One for the convolutions side by side (RepConv, RepVGGDW), as large as the largest.
        block = f"{name.rpartition('.')[0]}."
        largest = max((n for n in kernels if n.startswith(block)), key=kernels.__getitem__)
        sizes[largest] = sizes.pop(name)
    return sizes
