"""Which channels can be pruned, which must go together, and which are left alone and why."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from ultralytics.nn.modules.block import ADown, Attention

from prunebench.common.errors import ConfigError, StepError
from prunebench.common.records import LeftAlone
from prunebench.measuring.heads import HEADS
from prunebench.measuring.heads.detect import Detect
from prunebench.variants.checkpoint import Network
from prunebench.variants.graph.attention import (
    OpaqueAttention,
    SplitHeads,
    traced_attention,
)
from prunebench.variants.graph.surgery import SplitC2f
from prunebench.variants.structure import attentions, blank_image

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)

_KINDS = tp.ops.OPTYPE
RESHAPING = (_KINDS.RESHAPE, _KINDS.UNBIND, _KINDS.EXPAND, _KINDS.SLICE)

SPLIT = ("cv0", "0", "1", "2")  # Names of what there is more of in a split network.

IS_PREDICTION = LeftAlone(reason="prediction")
IS_ATTENTION = LeftAlone(reason="attention")
IS_UNTRACED = LeftAlone(reason="untraced")
IS_GROUPED = LeftAlone(reason="grouped")
IS_IGNORED = LeftAlone(reason="ignored")
IS_OTHER_HALF = LeftAlone(reason="other_half")
IS_JOINED = LeftAlone(reason="joined")


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that several layers share and that can only be removed from all of them.

    Attributes:
        root: Name of the first convolution whose outputs they are, in the split network.
        members: All such convolutions, alike.
        layers: Every layer they touch, as torch-pruning's group over all ``width`` channels.
        bundle: Groups with the same number must end equally wide (the halves of a ``C2f``).
        head: Channels side by side that only go together: those of an attention's head.
        grain: The bundle's widths are multiples of it.
    """

    root: str
    width: int
    members: tuple[str, ...]
    layers: tp.dependency.Group = field(repr=False)
    bundle: int = 0
    head: int = 1
    grain: int = 1

    def step(self, round_to: int | None) -> int:
        """What the widths are multiples of where they are to be multiples of ``round_to``."""
        return math.lcm(self.grain, round_to or 1)


@dataclass(frozen=True)
class PruningGraph:
    """A traced network: what may be pruned, in forward order, and what may not.

    ``left_alone`` is by name in the stock network, ``network`` the split one.
    """

    network: nn.Module
    groups: tuple[ChannelGroup, ...]
    left_alone: Mapping[str, LeftAlone]
    _dependencies: tp.DependencyGraph = field(repr=False)

    def stock_name(self, name: str) -> str:
        """Name in the stock network of a module in the split one."""
        return _stock_name(self.network, name)

    def is_outgoing(self, handler: Callable[..., Any]) -> bool:
        """Whether a dependency's pruning function removes output channels."""
        return bool(self._dependencies.is_out_channel_pruning_fn(handler))

    def prune(self, scores: Mapping[str, Tensor], kept: Mapping[str, int]) -> None:
        """Remove the least important channels of every group.

        ``scores`` gives the importance of a root's channels, shape (width,), alike in a head;
        ``kept`` how many of them stay, 1 to width, a multiple of the group's grain.
        """
        for group in self.groups:
            if excess := group.width - kept[group.root]:
                worst = torch.argsort(scores[group.root], stable=True)[:excess]
                if excess % group.grain:
                    what = f"{group.root} loses whole heads of {group.grain} channels"
                    raise StepError("prune", f"{what}, not {excess} channels")
                layers = _group_of(self._dependencies, self.network, group.root, worst.tolist())
                layers.prune(record_history=False)
                module: Any = self.network.get_submodule(group.root)
                if module.out_channels != kept[group.root]:
                    what = f"{group.root} ended {module.out_channels} channels wide"
                    raise StepError("prune", f"{what} instead of {kept[group.root]}")


def trace(network: Network, ignore: Sequence[str] = ()) -> PruningGraph:
    """Find the channel groups of a network in eval mode whose ``C2f`` modules are split.

    Args:
        ignore: Names of modules in the stock network whose output widths must stay.

    Raises:
        ConfigError: A name in ``ignore`` is no module of the network.
        StepError: A module cannot be traced; it is named.
    """
    for name, module in network.named_modules():
        if isinstance(module, ADown):
            raise _untraceable(network, name, "it halves them by their place")
    fixed = dict.fromkeys(_convolutions_below(network, ignore), IS_IGNORED)
    fixed.update(dict.fromkeys(_prediction_convolutions(network), IS_PREDICTION))
    with traced_attention(network) as opaque:
        fixed.update(dict.fromkeys(opaque, IS_ATTENTION))
        dependencies = _build(network)
        candidates = tuple(_candidates(network, dependencies))
        untraced = [
            name
            for name, module in network.named_modules()
            if isinstance(module, CONVOLUTIONS) and module not in dependencies.module2node
        ]

    left_alone = {_stock_name(network, name): IS_UNTRACED for name in untraced}
    groups = []
    bundles, heads = _bundles(network, candidates), _heads(network, candidates)
    grains: dict[int, int] = {}
    for bundle, head in zip(bundles, heads, strict=True):
        grains[bundle] = math.lcm(head, grains.get(bundle, 1))
    reasons = [_refusal(group, fixed, network) for group in candidates]
    refused = {bundle for bundle, reason in zip(bundles, reasons, strict=True) if reason}
    for group, bundle, head, reason in zip(candidates, bundles, heads, reasons, strict=True):
        if grains[bundle] >= group.width > 1:
            reason = IS_ATTENTION
            refused.add(bundle)
        if bundle not in refused:
            groups.append(replace(group, bundle=bundle, head=head, grain=grains[bundle]))
            continue
        for member in group.members:
            why = fixed.get(member) or reason or IS_OTHER_HALF
            left_alone[_stock_name(network, member)] = why
    return PruningGraph(network, tuple(groups), left_alone, dependencies)


def forward_to_predictions(network: Network, image: Tensor) -> list[Tensor]:
    """Run a network and return what its predicting layers say, before boxes are decoded.

    Image and outputs, of those that ran, have the shape (1, channels, height, width), or those of a
    classification (1, classes).
    """
    ends = [network.get_submodule(name) for name in _prediction_convolutions(network)]
    outputs: dict[nn.Module, Tensor] = {}
    hooks = [
        end.register_forward_hook(lambda m, _, out: outputs.__setitem__(m, out)) for end in ends
    ]
    # Branches that only training runs read channels that are pruned, too.
    for module, branch in _head(network).training_only(network.model[-1]):
        hooks.append(module.register_forward_hook(branch))
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [outputs[end] for end in ends if end in outputs]


def norm_after(network: nn.Module, name: str) -> nn.BatchNorm2d | None:
    """The BatchNorm that follows a convolution in Ultralytics' ``Conv``, ``None`` elsewhere."""
    around = network.get_submodule(name.rpartition(".")[0])
    norm = getattr(around, "bn", None) if name.endswith(".conv") else None
    return norm if isinstance(norm, nn.BatchNorm2d) else None


def _build(network: Network) -> tp.DependencyGraph:
    """Trace the network up to its predictions, leaving out how boxes are decoded."""
    # Checkpoints load without gradients; torch-pruning would then find no graph, silently.
    network.requires_grad_(True)
    entered = [""]

    def forward(model: Network, image: Tensor) -> list[Tensor]:
        hooks = [
            module.register_forward_pre_hook(lambda _m, _i, n=name: entered.append(n))
            for name, module in model.named_modules()
        ]
        try:
            return forward_to_predictions(model, image)
        finally:
            for hook in hooks:
                hook.remove()

    image = blank_image(network)
    try:
        dependencies = tp.DependencyGraph().build_dependency(
            network, image, forward_fn=forward, verbose=False
        )
    except Exception as error:  # whatever a foreign module raises
        raise _untraceable(network, entered[-1], f"{type(error).__name__}: {error}") from error
    for node in dependencies.module2node.values():
        flattened = node.outputs and all(isinstance(n.module, nn.Linear) for n in node.outputs)
        # A parameter is turned to meet the channels it scales: ``gamma`` of YOLO12 l and x.
        turned = all(n.type == _KINDS.PARAMETER for n in node.inputs)
        # torch-pruning searches on without an end where channels move to another dimension.
        if node.type in RESHAPING and not flattened and not turned:
            name = _module_around(network, node)
            raise _untraceable(network, name, "it reshapes them, as attention does")
    return dependencies


def _candidates(network: nn.Module, dependencies: tp.DependencyGraph) -> Iterator[ChannelGroup]:
    """Every channel group, each once, in forward order."""
    names = {module: name for name, module in network.named_modules()}
    seen: set[str] = set()
    for module, name in names.items():
        traced = isinstance(module, CONVOLUTIONS) and module in dependencies.module2node
        if not traced or name in seen:
            continue
        width = module.out_channels
        layers = _group_of(dependencies, network, name, list(range(width)))
        if not _is_consistent(layers, dependencies):
            block = ".".join(name.split(".")[:2])
            what = f"it divides those of {name} where no graph edge shows it"
            raise _untraceable(network, block, what)
        members = dict.fromkeys(
            names[dep.target.module]
            for dep, _ in layers
            if isinstance(dep.target.module, CONVOLUTIONS)
            and dependencies.is_out_channel_pruning_fn(dep.handler)
        )
        seen.update(members)
        yield ChannelGroup(name, width, tuple(members), layers)


def _is_consistent(layers: tp.dependency.Group, dependencies: tp.DependencyGraph) -> bool:
    """Whether every channel of a group exists in every layer of it."""
    for dependency, channels in layers:
        module = dependency.target.module
        if isinstance(module, CONVOLUTIONS) and channels:
            outgoing = dependencies.is_out_channel_pruning_fn(dependency.handler)
            if max(channels) >= (module.out_channels if outgoing else module.in_channels):
                return False
    return True


def _group_of(
    dependencies: tp.DependencyGraph, network: nn.Module, root: str, channels: list[int]
) -> tp.dependency.Group:
    module = network.get_submodule(root)
    prune = dependencies.get_pruner_of_module(module).prune_out_channels
    try:
        return dependencies.get_pruning_group(module, prune, sorted(channels))
    except Exception as error:  # torch-pruning raises IndexError, ValueError, AssertionError ...
        raise _untraceable(network, root, f"{type(error).__name__}: {error}") from error


def _refusal(
    group: ChannelGroup, fixed: Mapping[str, LeftAlone], network: nn.Module
) -> LeftAlone | None:
    """Why none of a group's channels may be removed, or ``None``."""
    for member in group.members:
        if member in fixed:
            other = _stock_name(network, member)
            return fixed[member].model_copy(update={"shared_with": other})
        if network.get_submodule(member).out_channels != group.width:
            # Some of its channels hang together, so removing one removes others of the same layer.
            return IS_JOINED
    for dependency, _ in group.layers:
        module = dependency.target.module
        if isinstance(module, OpaqueAttention):
            return IS_ATTENTION
        if isinstance(module, CONVOLUTIONS) and 1 < module.groups < module.out_channels:
            return IS_GROUPED
    return None


def _bundles(network: nn.Module, candidates: Sequence[ChannelGroup]) -> list[int]:
    """A number for every group; both halves of a ``C2f`` get the same one.

    So do the heads of an ``Attention`` and what it reads, which it adds its projection to: it takes
    both to be equally wide.
    """
    group_of = {name: i for i, group in enumerate(candidates) for name in group.members}
    bundles = list(range(len(candidates)))
    for name, module in network.named_modules():
        if isinstance(module, SplitC2f):
            ends = "cv0", "cv1"
        elif isinstance(module, Attention) and isinstance(module.qkv, SplitHeads):
            ends = "qkv.0", "proj"
        else:
            continue
        one, other = (bundles[group_of[f"{name}.{end}.conv"]] for end in ends)
        bundles = [min(one, other) if b in (one, other) else b for b in bundles]
    return bundles


def _heads(network: nn.Module, candidates: Sequence[ChannelGroup]) -> list[int]:
    """How many channels of every group are a head of attention, 1 where none are."""
    head_of = {
        f"{name}.qkv.0.conv": attention.head_dim for name, attention in attentions(network).items()
    }
    return [max(head_of.get(name, 1) for name in group.members) for group in candidates]


def _prediction_convolutions(network: Network) -> list[str]:
    """Names of the convolutions whose outputs the loss and the decoding read."""
    last = len(network.model) - 1
    return [f"model.{last}.{name}" for name in _head(network).predictions(network.model[last])]


def _head(network: Network) -> type[Detect]:
    return HEADS[network.task]


def _convolutions_below(network: nn.Module, modules: Sequence[str]) -> list[str]:
    """Convolutions of the split network inside modules named as in the stock one."""
    stock = {name: _stock_name(network, name) for name, _ in network.named_modules()}
    found = []
    for wanted in modules:
        if wanted not in stock.values() or not wanted:
            near = difflib.get_close_matches(wanted, sorted(set(stock.values())), n=3, cutoff=0.0)
            raise ConfigError(
                f"the network has no module {wanted!r}",
                where="prune.ignore",
                fix=f"the nearest are {', '.join(near)}",
            )
        found += [
            name
            for name, module in network.named_modules()
            if isinstance(module, CONVOLUTIONS)
            and (stock[name] == wanted or stock[name].startswith(f"{wanted}."))
        ]
    return found


def _stock_name(network: nn.Module, name: str) -> str:
    """The stock name of a module of the split network.

    The extra half is part of ``cv1``, and what heads are split into is one convolution.
    """
    parts, stock = name.split("."), []
    for i, part in enumerate(parts):
        around = network.get_submodule(".".join(parts[:i])) if part in SPLIT else None
        if not isinstance(around, SplitHeads):
            stock.append("cv1" if part == "cv0" and isinstance(around, SplitC2f) else part)
    return ".".join(stock)


def _module_around(network: nn.Module, node: tp.dependency.Node) -> str:
    """Name of the innermost module that holds what comes before and after an operation."""
    names = {module: name for name, module in network.named_modules()}
    sides = (_nearest(node, side, names).split(".") for side in ("inputs", "outputs"))
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*sides, strict=False))
    return ".".join(part for part, _ in shared)


def _nearest(node: tp.dependency.Node, side: str, names: Mapping[nn.Module, str]) -> str:
    """Name of the nearest module on one side of an operation."""
    waiting, seen = [node], {node}
    while waiting:
        current = waiting.pop(0)
        if current.module in names:
            return names[current.module]
        fresh = [near for near in getattr(current, side) if near not in seen]
        seen.update(fresh)
        waiting += fresh
    return ""


def _untraceable(network: nn.Module, name: str, why: str) -> StepError:
    module: Any = network.get_submodule(name)
    kind = type(module.stock if isinstance(module, SplitC2f) else module).__name__
    subject = f"{name} ({kind})" if name else kind
    return StepError("prune", f"the channels of {subject} cannot be followed: {why}")
