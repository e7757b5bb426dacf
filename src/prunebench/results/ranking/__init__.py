"""From measured figures to ranks, ties, comparisons and advice; no file is read or written here."""

from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import (
    Advice,
    AgainstControl,
    Difference,
    Effect,
    FailedVariant,
    RankedVariant,
    Ranking,
    RelativeChange,
)

__all__ = [
    "Advice",
    "AgainstControl",
    "Difference",
    "Effect",
    "FailedVariant",
    "MeasuredVariant",
    "RankedVariant",
    "Ranking",
    "RelativeChange",
    "rank",
]
