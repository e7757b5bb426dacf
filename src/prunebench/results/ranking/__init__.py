"""From measured figures to ranks, ties, comparisons and advice; no file is read or written here."""

from prunebench.results.ranking.measured import Measured
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import (
    Advice,
    AgainstControl,
    Change,
    Difference,
    Effect,
    FailedVariant,
    RankedVariant,
    Ranking,
)

__all__ = [
    "Advice",
    "AgainstControl",
    "Change",
    "Difference",
    "Effect",
    "FailedVariant",
    "Measured",
    "RankedVariant",
    "Ranking",
    "rank",
]
