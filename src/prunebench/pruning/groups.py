"""Which channels can be pruned, which must go together, and which are left alone and why."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from prunebench.errors import ConfigError, StepError
from prunebench.pruning.surgery import SplitC2f, opaque_attention

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
TRACE_HW = (64, 64)
"""Input size of the trace, in pixels; the dependencies are the same at any size."""

PREDICTION_BRANCHES = ("cv2", "cv3", "cv4", "one2one_cv2", "one2one_cv3", "one2one_cv4")

IS_PREDICTION = "its outputs are the predictions"
IS_ATTENTION = "attention divides its channels into heads"
IS_UNTRACED = "it is no trainable part of the forward pass"
IS_GROUPED = "it is a grouped convolution"
IS_IGNORED = "it is named in prune.ignore"
IS_OTHER_HALF = "the other half of its C2f is left alone"


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that several layers share and that can only be removed from all of them.

    Attributes:
        root: Name of the first convolution whose outputs they are, in the split network.
        width: Number of channels now.
        members: Convolutions whose outputs they are, by name in the split network.
        layers: Every layer they touch, as torch-pruning's group over all ``width`` channels.
        bundle: Groups with the same number must end equally wide (the halves of a ``C2f``).
    """

    root: str
    width: int
    members: tuple[str, ...]
    layers: tp.Group = field(repr=False)
    bundle: int


@dataclass(frozen=True)
class PruningGraph:
    """A traced network, ready to be pruned.

    Attributes:
        network: The split network.
        groups: Everything that may be pruned, in forward order.
        left_alone: Modules that may not, by name in the stock network, each with its reason.
    """

    network: nn.Module
    groups: tuple[ChannelGroup, ...]
    left_alone: Mapping[str, str]
    _dependencies: tp.DependencyGraph = field(repr=False)

    def prune(self, scores: Mapping[str, Tensor], kept: Mapping[str, int]) -> None:
        """Remove the least important channels of every group.

        Args:
            scores: Root of a group to the importance of its channels, shape (width,).
            kept: Root of a group to the number of channels that stay, 1 to width.
        """
        for group in self.groups:
            excess = group.width - kept[group.root]
            if excess == 0:
                continue
            worst = torch.argsort(scores[group.root], stable=True)[:excess]
            layers = _group_of(self._dependencies, self.network, group.root, sorted(worst.tolist()))
            layers.prune(record_history=False)


def trace(network: nn.Module, ignore: Sequence[str] = ()) -> PruningGraph:
    """Find the channel groups of a network whose ``C2f`` modules are split.

    Args:
        network: A YOLO network of Ultralytics in eval mode.
        ignore: Names of modules in the stock network whose output widths must stay.

    Raises:
        ConfigError: A name in ``ignore`` is no module of the network.
        StepError: A module cannot be traced; it is named.
    """
    ignored = _convolutions_in(network, ignore)
    predictions = _prediction_convolutions(network)
    with opaque_attention(network) as attention:
        dependencies = _build(network, predictions)
        opaque = {f"{name}.conv": name for name in attention}
        candidates = list(_candidates(network, dependencies))
        untraced = [
            name
            for name, module in network.named_modules()
            if isinstance(module, CONVOLUTIONS) and module not in dependencies.module2node
        ]
    reasons = {name: IS_IGNORED for name in ignored}
    reasons.update(dict.fromkeys(predictions, IS_PREDICTION))
    reasons.update(dict.fromkeys(opaque, IS_ATTENTION))
    refused = _refusals(candidates, network, reasons, opaque)

    stock = _stock_namer(network)
    left_alone = {stock(name): IS_UNTRACED for name in untraced}
    for index, reason in refused.items():
        for member in candidates[index].members:
            name = opaque.get(member) or stock(member)
            left_alone[name] = reasons.get(member, reason)
    groups = tuple(group for i, group in enumerate(candidates) if i not in refused)
    return PruningGraph(network, groups, left_alone, dependencies)


def _build(network: nn.Module, predictions: Sequence[str]) -> tp.DependencyGraph:
    """Trace the network up to its predictions, leaving out how boxes are decoded."""
    # Checkpoints load without gradients; torch-pruning would then find no graph, silently.
    network.requires_grad_(True)
    ends = [network.get_submodule(name) for name in predictions]
    entered: list[str] = []

    def forward(model: nn.Module, image: Tensor) -> list[Tensor]:
        outputs: dict[nn.Module, Tensor] = {}
        hooks = [
            end.register_forward_hook(lambda m, _, out: outputs.__setitem__(m, out)) for end in ends
        ]
        hooks += [
            module.register_forward_pre_hook(lambda _m, _i, n=name: entered.append(n))
            for name, module in model.named_modules()
        ]
        try:
            model(image)
        finally:
            for hook in hooks:
                hook.remove()
        return [outputs[end] for end in ends if end in outputs]

    image = torch.zeros(1, network.yaml.get("channels", 3), *TRACE_HW)
    try:
        return tp.DependencyGraph().build_dependency(network, image, forward_fn=forward)
    except Exception as error:  # whatever a foreign module raises
        raise _untraceable(network, entered[-1] if entered else "", error) from error


def _candidates(network: nn.Module, dependencies: tp.DependencyGraph) -> Iterator[ChannelGroup]:
    """Every channel group, each once, in forward order."""
    names = {module: name for name, module in network.named_modules()}
    seen: set[str] = set()
    for name, module in network.named_modules():
        traced = isinstance(module, CONVOLUTIONS) and module in dependencies.module2node
        if not traced or name in seen:
            continue
        width = module.out_channels
        layers = _group_of(dependencies, network, name, list(range(width)))
        members = tuple(
            names[dep.target.module]
            for dep, _ in layers
            if isinstance(dep.target.module, CONVOLUTIONS)
            and dependencies.is_out_channel_pruning_fn(dep.handler)
        )
        seen.update(members)
        yield ChannelGroup(name, width, members, layers, bundle=len(seen))


def _group_of(
    dependencies: tp.DependencyGraph, network: nn.Module, root: str, channels: list[int]
) -> tp.Group:
    module = network.get_submodule(root)
    prune = dependencies.get_pruner_of_module(module).prune_out_channels
    try:
        return dependencies.get_pruning_group(module, prune, channels)
    except Exception as error:  # torch-pruning raises IndexError, ValueError, AssertionError ...
        raise _untraceable(network, root, error) from error


def _refusals(
    candidates: list[ChannelGroup],
    network: nn.Module,
    reasons: Mapping[str, str],
    opaque: Mapping[str, str],
) -> dict[int, str]:
    """Index of a candidate that must stay to the reason; numbers the bundles of the others."""
    by_member = {member: i for i, group in enumerate(candidates) for member in group.members}
    stock = _stock_namer(network)
    refused: dict[int, str] = {}
    for index, group in enumerate(candidates):
        reason = _refusal(group, network, reasons, opaque, stock)
        if reason is not None:
            refused[index] = reason
    halves = [
        (by_member[f"{name}.cv0.conv"], by_member[f"{name}.cv1.conv"])
        for name, module in network.named_modules()
        if isinstance(module, SplitC2f)
    ]
    changed = True
    while changed:
        changed = False
        for pair in halves:
            for one, other in (pair, pair[::-1]):
                if one in refused and other not in refused:
                    refused[other] = IS_OTHER_HALF
                    changed = True
                bundle = min(candidates[one].bundle, candidates[other].bundle)
                if candidates[one].bundle != bundle:
                    candidates[one] = replace(candidates[one], bundle=bundle)
                    changed = True
    return refused


def _refusal(
    group: ChannelGroup,
    network: nn.Module,
    reasons: Mapping[str, str],
    opaque: Mapping[str, str],
    stock: Any,
) -> str | None:
    for member in group.members:
        if member in reasons:
            subject = opaque.get(member) or stock(member)
            return f"it shares its channels with {subject}: {reasons[member]}"
    for dep, _ in group.layers:
        module = dep.target.module
        if not isinstance(module, CONVOLUTIONS):
            continue
        if 1 < module.groups < module.out_channels:
            return IS_GROUPED
    return None
