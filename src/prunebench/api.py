"""The package from Python: compare variants, rank a table, audit a file, read a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.common.errors import EnvironmentMismatch, InputError
from prunebench.config.loading import Config, load_config, parse_config
from prunebench.results.messages.catalogue import ENGLISH, Messages
from prunebench.results.messages.sentences import Fact, tell
from prunebench.results.outcome import RunRanking, read_outcome
from prunebench.results.ranking.records import Advice, Ranking
from prunebench.results.report.build import REPORT_HTML
from prunebench.results.table.ranked import TableRanking, rank_table
from prunebench.variants.audit import Finding, audit_file, audit_number

if TYPE_CHECKING:
    import pandas as pd

RUNNERS = "prunebench.runners"
"""Group of the entry point that runs an experiment. The core must not import the orchestrator, so
whoever orchestrates registers here: ``compare = "flows.running:compare_variants"``."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Its folder, with everything it keeps.
        outcome: Its rankings, one per thread count.
    """

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
        return tell(fact, self.ranking, Messages(lang))

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / REPORT_HTML

    @property
    def table(self) -> pd.DataFrame:
        """The ranked variants of every thread count, a row each, as in ``ranking.csv``.

        Intervals are three columns (``fps``, ``fps_low``, ``fps_high``); milliseconds, 10^6 bytes,
        mAP50 in 0..1. Failed variants have their reason in ``failure`` and no figures.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise InputError(
                "a table needs pandas", fix="install it (pip install 'prunebench[pandas]')"
            ) from error
        from prunebench.results.outcome import RANKING_CSV

        table: pd.DataFrame = pandas.read_csv(self.folder / RANKING_CSV)
        return table


def compare(
    config: Config | Mapping[str, Any] | str | PathLike[str], *, quiet: bool = False
) -> Run:
    """Prune, retrain, export, measure and rank, as ``prunebench run`` does.

    What is finished already is not done again, so that an interrupted call is simply repeated.

    Args:
        config: A configuration, its values (``{"model": "best.pt", "data": "data.yaml"}``), or the
            path of its YAML file.
        quiet: Show no progress, only what finished or failed.

    Returns:
        The finished run; variants that failed are in ``ranking.failures``.

    Raises:
        InputError: Of the kind that says what is wrong, before any work.
        PrunebenchError: The run failed as a whole.
    """
    if isinstance(config, Config):
        resolved = config
    elif isinstance(config, Mapping):
        resolved = parse_config(config)
    else:
        resolved = load_config(Path(config))
    found = tuple(entry_points(group=RUNNERS, name="compare"))
    if not found:
        raise EnvironmentMismatch(
            "nothing is installed that runs a comparison", fix="install prunebench with pip again"
        )
    return load_run(found[0].load()(resolved, quiet=quiet))


def rank(table: str | PathLike[str], *, realtime_fps: float = 20.0) -> TableRanking:
    """Rank measurements taken elsewhere.

    Args:
        table: CSV with the columns ``variant``, ``params``, ``size_mb``, ``map50``, ``fps``.
        realtime_fps: Frames per second called real-time.

    Raises:
        TableError: With the line and column of the first bad value.
    """
    return rank_table(Path(table), realtime_fps=realtime_fps)


def audit(subject: str | PathLike[str] | int) -> Finding:
    """Say what a checkpoint, an ONNX file or a bare number of parameters is.

    Raises:
        CheckpointError: The file cannot be used.
    """
    return audit_number(subject) if isinstance(subject, int) else audit_file(Path(subject))


def load_run(folder: str | PathLike[str]) -> Run:
    """Read a finished run from its folder.

    Raises:
        InputError: It is no run folder, or the run is not finished.
    """
    path = Path(folder).expanduser().resolve()
    return Run(path, read_outcome(path))
