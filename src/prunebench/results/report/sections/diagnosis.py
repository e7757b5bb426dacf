"""Why is it not faster? onnxruntime's own profile of every pruned variant beside the baseline's."""

from __future__ import annotations

from itertools import islice

from prunebench.measuring.profile import Diagnosis, NetworkProfile
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_explanation
from prunebench.results.report.document import (
    Block,
    Cell,
    Column,
    Item,
    Items,
    Paragraph,
    Section,
    Table,
    cells,
)
from prunebench.results.report.numbers import BLANK, count
from prunebench.results.report.stored import StoredRun

OPERATORS_SHOWN = 3


def diagnosis(run: StoredRun, m: Messages) -> Section | None:
    """What the profiles say, ``None`` where there are none."""
    diagnoses = run.diagnoses
    if diagnoses is None or not (diagnoses.found or diagnoses.failures):
        return None
    blocks: list[Block] = [
        Paragraph(m("diagnosis.how")),
        Items(tuple(Item(tell_explanation(one, m)) for one in diagnoses.explanations())),
    ]
    if diagnoses.found:
        blocks.append(_table(run, diagnoses.found, m))
    return Section("diagnosis", m("diagnosis.title"), tuple(blocks))


def _table(run: StoredRun, found: dict[str, Diagnosis], m: Messages) -> Table:
    first = next(iter(found.values()))
    columns = (
        Column(m("column.variant")),
        Column(m("column.blocked"), True),
        Column(m("column.off_block", block=first.block), True),
        Column(m("column.reorders"), True),
        Column(m("column.denormals"), True),
        Column(m("column.macs"), True),
        Column(m("column.us_per_mmac"), True),
        Column(m("column.times_baseline"), True),
        Column(m("column.operators")),
    )
    rows = [
        _row(
            name,
            one.variant,
            (_beside(one), f"{one.times_baseline:.2f}"),
            m,
        )
        for name, one in found.items()
    ]
    if run.baseline is not None:
        rows.append(_row(run.baseline.name, first.baseline, (BLANK, BLANK), m))
    caption = m("diagnosis.caption", threads=m.counted("threads", first.threads))
    return Table(caption, columns, tuple(rows))


def _beside(one: Diagnosis) -> str:
    """Microseconds per MMAC of a variant and, from the same process, of the baseline."""
    return f"{1000 * one.variant.ms_per_mmac:.1f} / {1000 * one.baseline.ms_per_mmac:.1f}"


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
