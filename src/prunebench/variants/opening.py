"""A model as it is given, opened with every check on whether it can be pruned and trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prunebench.common.errors import CheckpointError, InputError, StepError
from prunebench.common.text import first_line
from prunebench.variants.checkpoint import CheckpointInfo, Network, info_of, load_parts
from prunebench.variants.described import described_network
from prunebench.variants.structure import rebuilt

if TYPE_CHECKING:
    from prunebench.variants.graph.groups import PruningGraph

NETWORK_SUFFIXES = (".yaml", ".yml")


class Opened(NamedTuple):
    """A network, what its description builds, and what of it can be pruned, in a copy."""

    network: Network
    described: Network
    graph: PruningGraph
    info: CheckpointInfo
    train_args: Mapping[str, Any]


def open_network(model: str, ignore: Sequence[str] = ()) -> Opened:
    """Open a checkpoint (.pt) or a network's description (.yaml).

    ``ignore`` names modules whose output widths stay.

    Raises:
        CheckpointError: It cannot be read, pruned, or trained.
        ConfigError: There is no such description, or no module of a name in ``ignore``.
    """
    network, train_args, provenance = _parts(model)
    try:
        described = rebuilt(network)
        if type(described.model[-1]) is not type(network.model[-1]):
            raise ValueError("it ends in another layer")
    except Exception as error:  # the parser raises whatever a wrong description makes it stumble on
        raise CheckpointError(
            f"the description of its network (yaml) cannot be built ({first_line(error, 100)})",
            where=model,
            fix="train it again",
        ) from error
    graph = _traced(network, model, ignore)
    info = info_of(network, train_args, provenance)
    return Opened(network, described, graph, info, train_args)


def _parts(model: str) -> tuple[Network, Mapping[str, Any], Mapping[str, Any]]:
    if model.endswith(NETWORK_SUFFIXES):
        return described_network(model), {}, {}
    return load_parts(Path(model))


def _traced(network: Network, model: str, ignore: Sequence[str]) -> PruningGraph:
    from prunebench.variants.graph.groups import trace
    from prunebench.variants.graph.surgery import split_c2f

    network = copy.deepcopy(network)
    try:
        split_c2f(network)
        graph = trace(network, ignore)
    except InputError:
        raise
    except Exception as error:  # a layer may say of itself what does not hold
        reason = error.reason if isinstance(error, StepError) else first_line(error)
        what = f"it cannot be pruned: {reason}"
        raise CheckpointError(what, where=model, fix="give another network") from error
    if not graph.groups:
        what = "it cannot be pruned: every layer is left alone"
        raise CheckpointError(what, where=model, fix="take names out of prune.ignore")
    return graph
