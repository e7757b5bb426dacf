"""The outcome of a run, and the latency it rests on, as its folder keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from prunebench.common.errors import InputError
from prunebench.common.records import Record
from prunebench.common.variant_record import VariantRecord
from prunebench.measuring.latency.raw import Noise, Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.samples import read_samples
from prunebench.results.diagnoses import Explanation
from prunebench.results.ranking.records import Ranking
from prunebench.results.run_folder import (
    LATENCY_FOLDER,
    RANKING_FILE,
    read_record,
    read_run_config,
    read_variants,
)
from prunebench.results.soak import Soak
from prunebench.results.tuned import Tuned
from prunebench.variants.rewriting.choice import Passes

if TYPE_CHECKING:
    import pandas as pd

LATENCY_FILE = "result.json"
RANKING_CSV = "ranking.csv"
UNFINISHED = {
    "what": "the run is not finished, or was written by another version",
    "fix": "run it again",
}


class RunRanking(Record):
    """The outcome of a run, with the names of its configuration and of its folder.

    Attributes:
        rankings: One ranking per thread count, the first is the one shown first.
        noise: What was seen on the host that may have falsified the measurement.
        stopped: Why measuring stopped: ``settled``, ``rounds`` or ``budget``.
        split: Images that accuracy is of ("val", "test"); empty where it was not noted.
        soak: What minutes of load changed, where they were asked for.
        passes: What rewriting gains on the host that counts, where graphs are rewritten.
        diagnoses: Why pruned variants are not faster than the baseline, of those that are not.
        tuned: Session settings found for single variants, by `prunebench tune`.
    """

    name: str
    run: str
    rankings: Annotated[tuple[Ranking, ...], Field(min_length=1)]
    noise: tuple[Noise, ...]
    stopped: str
    rounds: int
    split: str = ""
    diagnoses: tuple[Explanation, ...] = ()
    soak: Soak | None = None
    tuned: tuple[Tuned, ...] = ()
    passes: Passes | None = None

    def to_frame(self) -> pd.DataFrame:
        """The variants of every thread count as a table; see ``Ranking.to_frame``."""
        import pandas as pd

        return pd.concat([one.to_frame() for one in self.rankings], ignore_index=True)


def read_latency(folder: Path) -> LatencyResult:
    """The latency of a run; ``InputError`` where it has none, or one that cannot be read."""
    return read_record(folder / LATENCY_FOLDER / LATENCY_FILE, LatencyResult, **UNFINISHED)


def read_ranked_variants(folder: Path, outcome: RunRanking) -> tuple[VariantRecord, ...]:
    """Every variant of a run, parents first; ``InputError`` where one that is ranked is gone."""
    variants = read_variants(folder)
    ranked = {row.name for ranking in outcome.rankings for row in ranking.rows}
    for name in sorted(ranked - {variant.name for variant in variants}):
        fix = "put it back, or run again"
        raise InputError("the variant is gone", where=folder / "variants" / name, fix=fix)
    return variants


def read_run_samples(folder: Path, latency: LatencyResult) -> list[Sample]:
    """The raw samples of a run; ``InputError`` where they are not those it was ranked by."""
    home = folder / LATENCY_FOLDER
    path = home / latency.samples.path
    try:
        samples = read_samples(path) if latency.samples.holds(home) else []
    except ValueError:  # pydantic's and Unicode's errors are ValueErrors
        samples = []
    if not samples:
        what = "the latency samples are gone, or not those the run was ranked by"
        raise InputError(what, where=path, fix="put the file back, or run again")
    return samples


def read_outcome(folder: Path) -> RunRanking:
    """The outcome of a run; ``InputError`` where it is not finished, or cannot be read."""
    read_run_config(folder)
    return read_record(folder / RANKING_FILE, RunRanking, **UNFINISHED)
