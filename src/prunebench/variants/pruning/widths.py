"""How wide each layer is, as a file: a layer's name in the network, and its output channels.

Layers that share channels have to agree, and what is not named keeps its width. Which channels stay
is the importance's to say, so that a file fits every checkpoint of the same layers.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from prunebench.common.errors import ConfigError
from prunebench.common.files import write_atomically
from prunebench.common.text import first_line

if TYPE_CHECKING:
    from prunebench.variants.graph.groups import PruningGraph

WHERE = "prune.widths"
FILE = "widths.yaml"

HEADER = """\
# Output channels of every layer whose width pruning can set. Edited or not, `prune.widths` takes
# this file, for this checkpoint or another one of the same layers. What is not named, or is behind
# a #, stays whole, however wide it is there: with more classes some layers of the head are wider.
"""


def write_widths(target: Path, widths: Mapping[str, int], full: Mapping[str, int]) -> None:
    """Write a file that ``read_widths`` reads; ``full`` are the widths before."""
    lines = (f"{'# ' * (full[name] == width)}{name}: {width}\n" for name, width in widths.items())
    write_atomically(target, HEADER + "".join(lines))


def read_widths(path: Path) -> dict[str, int]:
    """The widths of a file by layer; ConfigError where it is no such file."""
    path = path.expanduser()
    fix = "give a file of lines such as `model.3.conv: 32`"
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}", where=WHERE, fix="check the path") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"it cannot be read ({first_line(error)})", where=path, fix=fix
        ) from error
    if not isinstance(found, dict) or not found:
        raise ConfigError("it holds no widths by layer", where=path, fix=fix)
    for name, width in found.items():
        if not isinstance(name, str):
            raise ConfigError(f"{name!r} is no layer's name", where=path, fix=fix)
        if type(width) is not int or width < 1:
            what = f"{name}: {width!r} is no number of channels"
            raise ConfigError(what, where=path, fix="give 1 or more, or leave the line out")
    return found


def widths_of(graph: PruningGraph, kept: Mapping[str, int]) -> dict[str, int]:
    """Channels of every layer that can be narrowed, by its name in the stock network."""
    widths: Counter[str] = Counter()
    for group in graph.groups:
        for member in group.members:
            widths[graph.stock_name(member)] += kept[group.root]
    return dict(widths)


def kept_of(
    graph: PruningGraph, widths: Mapping[str, int], round_to: int | None = None
) -> dict[str, int]:
    """Channels that stay of each root, as the widths of layers say.

    Raises:
        ConfigError: They contradict each other or ``round_to``, name what the network does not
            have or cannot narrow, ask for more than there is, or remove nothing.
    """
    full = widths_of(graph, {group.root: group.width for group in graph.groups})
    for name, width in widths.items():
        _check_layer(graph, full, name, width)
    kept = {}
    bundles = defaultdict(list)
    for group in graph.groups:
        bundles[group.bundle].append(group)
    for groups in bundles.values():
        # A layer that is cut into parts counts all, which are equally wide.
        parts = Counter(graph.stock_name(member) for group in groups for member in group.members)
        wanted = {name: (widths[name], times) for name, times in parts.items() if name in widths}
        for name, (width, times) in wanted.items():
            if width % times:
                what = f"{name}: {width} cannot be cut into its {times} equally wide parts"
                raise ConfigError(what, where=WHERE, fix=f"give a multiple of {times}")
        each = {name: width // times for name, (width, times) in wanted.items()}
        if len(set(each.values())) > 1:
            one = next(iter(each))
            other = next(name for name in each if each[name] != each[one])
            raise ConfigError(
                f"{one}: {widths[one]} and {other}: {widths[other]} contradict each other, their "
                "channels hang together",
                where=WHERE,
                fix=f"give {other} {each[one] * parts[other]}, or {one} {each[other] * parts[one]}",
            )
        width, grain = next(iter(each.values()), groups[0].width), groups[0].grain
        if width % grain:
            one = next(iter(each))
            raise ConfigError(
                f"{one}: {widths[one]} leaves no whole number of attention heads",
                where=WHERE,
                fix=f"give a multiple of {grain * parts[one]}",
            )
        if round_to is not None and width % round_to and width != groups[0].width:
            one = next(iter(each))
            halves = " in each part" if parts[one] > 1 else ""
            times = groups[0].step(round_to) * parts[one]
            raise ConfigError(
                f"{one}: {widths[one]} is off prune.round_to, {round_to}{halves}",
                where=WHERE,
                fix=f"set round_to to auto, or give a multiple of {times}",
            )
        kept.update({group.root: width for group in groups})
    if all(kept[group.root] == group.width for group in graph.groups):
        what = "the file removes no channel of this network"
        raise ConfigError(what, where=WHERE, fix="give fewer channels to a layer")
    return kept


def _check_layer(graph: PruningGraph, full: Mapping[str, int], name: str, width: int) -> None:
    """Refuse a layer that is not there, cannot be narrowed, or is less wide than asked for."""
    if name in full:
        if width > full[name]:
            what = f"{name}: {width} is more than the {full[name]} channels it has"
            fix = f"give 1 to {full[name]}, if the file is of this network"
            raise ConfigError(what, where=WHERE, fix=fix)
        return
    if name in graph.left_alone:
        what = f"the width of {name} is not pruning's to set ({graph.left_alone[name].reason})"
        raise ConfigError(what, where=WHERE, fix="leave its line out")
    near = difflib.get_close_matches(name, sorted(full), n=3, cutoff=0.0)
    raise ConfigError(
        f"the network has no layer {name} that could be narrowed",
        where=WHERE,
        fix=f"the nearest are {', '.join(near)}, if the file is of this network",
    )
