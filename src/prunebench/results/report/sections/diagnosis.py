"""Why is it not faster? onnxruntime's own profile of every pruned variant beside the baseline's."""

from __future__ import annotations

from itertools import islice

from prunebench.measuring.profile import Diagnosis, NetworkProfile
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_explanation
from prunebench.results.report.document import (
    Cell,
    Paragraph,
    Section,
    Table,
    cells,
    items,
    section,
    table,
    titles,
)
from prunebench.results.report.numbers import BLANK, count
from prunebench.results.report.stored import ReportedRun

OPERATORS_SHOWN = 3


def diagnosis(run: ReportedRun, m: Messages) -> Section | None:
    """What the profiles say, ``None`` where there are none."""
    diagnoses = run.diagnoses
    if diagnoses is None or not (diagnoses.found or diagnoses.failures):
        return None
    return section(
        "diagnosis",
        m,
        Paragraph(m("diagnosis.how")),
        items(tell_explanation(one, m) for one in diagnoses.explanations()),
        _table(run, diagnoses.found, m) if diagnoses.found else None,
    )


def _table(run: ReportedRun, found: dict[str, Diagnosis], m: Messages) -> Table:
    first = next(iter(found.values()))
    heads = titles(
        m,
        *("variant", "blocked#", "off_block#", "reorders#", "denormals#", "macs#"),
        *("us_per_mmac#", "times_baseline#", "operators"),
        block=first.block,
    )
    rows = []
    for name, one in found.items():
        # Both from the same process.
        ours, baselines = (1000 * each.ms_per_mmac for each in (one.variant, one.baseline))
        against = (f"{ours:.1f} / {baselines:.1f}", f"{one.times_baseline:.2f}")
        rows.append(_row(name, one.variant, against, m))
    if run.baseline is not None:
        rows.append(_row(run.baseline.name, first.baseline, (BLANK, BLANK), m))
    return table(m("diagnosis.caption", threads=m.counted("threads", first.threads)), heads, rows)


def _row(
    name: str, profile: NetworkProfile, against: tuple[str, str], m: Messages
) -> tuple[Cell, ...]:
    largest = islice(profile.time_shares.items(), OPERATORS_SHOWN)
    return cells(
        name,
        m("diagnosis.of", part=profile.blocked, whole=profile.convolutions),
        count(len(profile.off_block)),
        count(profile.reorders),
        count(profile.denormal_weights),
        f"{profile.mmacs:.1f}",
        *against,
        ", ".join(f"{operator} {share:.0%}" for operator, share in largest),
    )
