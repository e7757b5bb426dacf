"""The settings of an onnxruntime session that may make it faster or smaller, one change each."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prunebench.measuring.host.fingerprint import cpu_flags
from prunebench.measuring.session import Options, SessionSettings

MOST_COMBINED = 3  # Changes whose combinations are tried: 7 settings beside the run's own.
JOIN = " + "

BF16_ON_ARM = "mlas.enable_gemm_fastmath_arm64_bfloat16"
"""The one option of onnxruntime 1.32 that lets a float file multiply in fewer bits. Its other
``mlas`` options, and this one on x86-64, leave every output of a float file bit for bit the same,
or move the order of sums (``docs/tuning.md``)."""


class Change(NamedTuple):
    """One change of the run's own settings; ``arithmetic``: outputs may differ, so accuracy too."""

    name: str
    options: Options
    arithmetic: bool = False


def changes_of(settings: SessionSettings, threads: int, other: Sequence[int]) -> list[Change]:
    """What may be changed in a run's ``settings`` at ``threads``; ``other`` thread counts too."""
    return [
        Change(f"memory pattern {_on(False)}", {"enable_mem_pattern": False}),
        Change(f"arena {_on(not settings.arena)}", {"enable_cpu_mem_arena": not settings.arena}),
        Change("weights outside the arena", {"session.use_device_allocator_for_initializers": "1"}),
        Change("weights not packed", {"session.disable_prepacking": "1"}),
        *_arithmetic(settings),
        *_of_threads(settings, threads, other),
    ]


def _arithmetic(settings: SessionSettings) -> Iterator[Change]:
    flush = not settings.flush_denormals
    denormals = {"session.set_denormal_as_zero": str(int(flush))}
    yield Change(f"denormals to zero {_on(flush)}", denormals, arithmetic=True)
    for level in ("all", "extended"):
        if level != settings.graph_level:
            options = {"graph_optimization_level": f"ORT_ENABLE_{level.upper()}"}
            yield Change(f"graph level {level}", options, arithmetic=True)
    if settings.graph_level == "all":
        options = {"optimization.disable_specified_optimizers": "NchwcTransformer"}
        yield Change("no blocked layout", options, arithmetic=True)
        for channels in (32, 512):
            entry = {"mlas.nchwc_pointwise_conv_max_input_channel_batch": str(channels)}
            yield Change(f"1x1 convolutions by {channels} channels", entry, arithmetic=True)
    if platform.machine() in ("aarch64", "arm64") and "bf16" in cpu_flags():
        yield Change("bfloat16 products", {BF16_ON_ARM: "1"}, arithmetic=True)


def _of_threads(settings: SessionSettings, threads: int, other: Sequence[int]) -> Iterator[Change]:
    """Other counts both with and without spinning, as one decides what the other is worth."""
    spin = str(int(not settings.spinning))
    entries = {f"session.{kind}_op.allow_spinning": spin for kind in ("intra", "inter")}
    spinning = f"spinning {_on(not settings.spinning)}"
    for count in dict.fromkeys(other):
        if count != threads:
            options: Options = {"intra_op_num_threads": count}
            yield Change(f"threads {count}", options)
            if count > 1:
                yield Change(f"threads {count}{JOIN}{spinning}", {**options, **entries})
    if threads > 1:
        yield Change(spinning, entries)
        yield Change("blocks of work that shrink", {"session.dynamic_block_base": "4"})
    if max(threads, *other, 0) > 1 and settings.execution_mode == "sequential":
        beside: Options = {"execution_mode": "ORT_PARALLEL", "inter_op_num_threads": 2}
        yield Change("branches beside each other", beside)


def _on(value: bool) -> str:
    return "on" if value else "off"


def combined(changes: Sequence[Change]) -> dict[str, Change]:
    """Every combination of the first few changes, by its name; of the same option the first."""
    chosen: list[Change] = []
    for change in changes:
        if not any(change.options.keys() & other.options.keys() for other in chosen):
            chosen.append(change)
    found = {}
    for size in range(1, MOST_COMBINED + 1):
        for parts in itertools.combinations(chosen[:MOST_COMBINED], size):
            name = JOIN.join(part.name for part in parts)
            options = {key: value for part in parts for key, value in part.options.items()}
            found[name] = Change(name, options, any(part.arithmetic for part in parts))
    return found
