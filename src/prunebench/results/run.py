"""A finished run, as Python code reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.results.messages.catalogue import ENGLISH, Messages
from prunebench.results.messages.sentences import Fact, tell
from prunebench.results.outcome import RunRanking, read_outcome
from prunebench.results.ranking.records import Advice, Ranking
from prunebench.results.report.build import REPORT_HTML

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, with everything it keeps, and its rankings."""

    folder: Path
    outcome: RunRanking

    @property
    def ranking(self) -> Ranking:
        """The ranking that is shown first."""
        return self.outcome.rankings[0]

    @property
    def advice(self) -> Sequence[Advice]:
        """What to ship for real-time, for balance and for accuracy."""
        return self.ranking.advice

    def sentence(self, fact: Fact, lang: str = ENGLISH) -> str:
        """Put advice, a comparison, a warning or an effect of the first ranking into words.

        Args:
            fact: One of ``ranking.advice``, ``differences``, ``warnings``, ``effects`` or
                ``against_controls``.
            lang: Language of the sentence: ``en`` or ``ko``.

        Raises:
            ConfigError: There is no catalogue for that language.
        """
        return tell(fact, self.ranking, Messages(lang, self.ranking.metric))

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / REPORT_HTML

    @property
    def table(self) -> pd.DataFrame:
        """The ranked variants of every thread count, a row each: what ``ranking.csv`` holds.

        Intervals are three columns (``fps``, ``fps_low``, ``fps_high``); milliseconds, 10^6 bytes,
        mAP50 in 0..1. Failed variants have their reason in ``failure`` and no figures.
        """
        return self.outcome.to_frame()


def load_run(folder: str | PathLike[str]) -> Run:
    """Read a finished run from its folder.

    Raises:
        InputError: It is not a run folder, or the run is not finished.
    """
    path = Path(folder).expanduser().resolve()
    return Run(path, read_outcome(path))
