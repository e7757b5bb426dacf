"""Why is it not faster? onnxruntime's own profile of what is not, beside the baseline's."""

from __future__ import annotations

from itertools import islice

from prunebench.measuring.profile import Diagnosis, NetworkProfile
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_explanation
from prunebench.results.report import document as doc
from prunebench.results.report.stored import ReportedRun

OPERATORS_SHOWN = 3


def diagnosis(run: ReportedRun, m: Messages) -> doc.Section | None:
    """What the profiles say of pruned variants that are not shown to be faster; else ``None``."""
    if run.diagnoses is None:
        return None
    baseline = None if run.baseline is None else run.baseline.name
    diagnoses = run.diagnoses.not_faster(run.ranking, baseline)
    if not (diagnoses.found or diagnoses.failures):
        return None
    return doc.section(
        "diagnosis",
        m,
        m("diagnosis.how"),
        doc.items(tell_explanation(one, m) for one in diagnoses.explanations()),
        _table(run, diagnoses.found, m) if diagnoses.found else None,
    )


def _table(run: ReportedRun, found: dict[str, Diagnosis], m: Messages) -> doc.Table:
    first = next(iter(found.values()))
    heads = doc.titles(
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
        rows.append(_row(run.baseline.name, first.baseline, (None, None), m))
    return doc.table(
        m("diagnosis.caption", threads=m.counted("threads", first.threads)), heads, rows
    )


def _row(
    name: str, profile: NetworkProfile, against: tuple[str | None, str | None], m: Messages
) -> tuple[doc.Cell, ...]:
    largest = islice(profile.time_shares.items(), OPERATORS_SHOWN)
    return doc.cells(
        name,
        m("diagnosis.of", part=profile.blocked, whole=profile.convolutions),
        f"{len(profile.off_block):,}",
        f"{profile.reorders:,}",
        f"{profile.denormal_weights:,}",
        f"{profile.mmacs:.1f}",
        *against,
        ", ".join(f"{operator} {share:.0%}" for operator, share in largest),
    )
