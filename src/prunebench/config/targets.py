"""What pruning is to reach: a ratio, a size, an amount of arithmetic, or a measured latency."""

from __future__ import annotations

import re
from typing import Literal

from prunebench.common.records import Record

Kind = Literal["ratio", "parameters", "macs", "latency_ms", "speedup", "widths"]

NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
FORMS: tuple[tuple[Kind, str, str], ...] = (
    ("ratio", rf"(?:ratio )?{NUMBER}()", "ratio-{}{}"),
    ("parameters", rf"{NUMBER} ?([km]?) ?(?:parameters|params)", "{}{}-parameters"),
    ("macs", rf"{NUMBER} ?([kmg]?) ?macs", "{}{}-macs"),
    ("latency_ms", rf"{NUMBER} ?()ms", "{}{}ms"),
    ("speedup", rf"{NUMBER}()x", "{}{}x"),
)
"""Kind, how it is written (a number and a scale), and its label."""

INT8 = " int8"
"""Ends a measured target that the INT8 file is to reach."""

MOST_SPEEDUP = 100
SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}

WIDTHS = "widths"
"""Kind and label of the goal that a file of widths is."""

EXAMPLES = "1.5x, 8 ms, 4x int8, 1.7M parameters, 300M MACs or 0.15 (a ratio)"


class Goal(Record):
    """What one pruned variant is to reach; its label has lower case letters, digits, dots, dashes.

    A share of channels removed, parameters with BatchNorm apart, MACs, milliseconds, or speed-up
    over the baseline; these two of the exported file, or (``int8``) of its INT8 sibling. Or the
    widths of a file.
    """

    kind: Kind
    value: float
    label: str
    int8: bool = False

    @property
    def is_measured(self) -> bool:
        """Whether it is reached by measuring on this host."""
        return self.kind in ("latency_ms", "speedup")

    @property
    def is_counted(self) -> bool:
        """Whether it has to lie within what widths can count to."""
        return self.kind in ("parameters", "macs")


def parse_goal(text: str) -> Goal:
    """Read a target such as ``1.5x``, ``8 ms`` or ``0.15``; ValueError where it cannot be one."""
    plain = " ".join(text.strip().lower().split())
    asked = plain.removesuffix(INT8)
    int8 = asked != plain
    for kind, form, label in FORMS:
        match = re.fullmatch(form, asked)
        if match is None:
            continue
        value = float(match[1]) * SCALES[match[2]]
        if kind == "ratio" and not 0 < value < 1:
            hint = f", a speed-up is {value:g}x" if value > 1 else ""
            raise ValueError(f"a ratio of {value:g} is not between 0 and 1{hint}")
        if kind == "speedup" and value <= 1:
            raise ValueError(f"{value:g}x is not a speed-up over the baseline, give more than 1x")
        if kind == "speedup" and value > MOST_SPEEDUP:
            raise ValueError(f"{value:g}x is more than pruning gives, at most {MOST_SPEEDUP}x")
        if value <= 0:
            raise ValueError(f"a target of {text} cannot be reached")
        told = label.format(f"{float(match[1]):.12g}", match[2])
        goal = Goal(kind=kind, value=value, label=f"int8-{told}" if int8 else told, int8=int8)
        if int8 and not goal.is_measured:
            raise ValueError(f"{text!r} counts alike in INT8, only a speed-up or ms is its own")
        return goal
    raise ValueError(f"{text!r} is not a target, use {EXAMPLES}")
