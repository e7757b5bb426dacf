"""Ranking of measured variants that never ranks noise."""

from prunebench.ranking.measured import Measured
from prunebench.ranking.rank import rank
from prunebench.ranking.records import (
    Advice,
    AgainstControl,
    Change,
    Difference,
    Effect,
    FailedVariant,
    RankedVariant,
    Ranking,
)
from prunebench.ranking.text import ranking_rows_csv

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
    "ranking_rows_csv",
]
