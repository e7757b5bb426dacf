"""What ``plan``, ``audit``, ``doctor`` and ``selftest`` print, as rich renderables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prunebench.config.loading import Config
from prunebench.experiment.duration import Estimate, in_words
from prunebench.experiment.plan import PlannedVariant
from prunebench.measuring.host.doctor import Finding as DoctorFinding
from prunebench.variants.audit import Finding as AuditFinding

if TYPE_CHECKING:
    from prunebench.measuring.selftest import SelfTest

LEVEL_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def plan_view(config: Config, variants: Sequence[PlannedVariant]) -> RenderableType:
    """The variants of an experiment with the chain of steps that makes each."""
    table = Table(title=f"{config.name}: {len(variants)} variants", title_justify="left")
    table.add_column("variant")
    table.add_column("steps")
    last = ("export to ONNX", "accuracy", "latency")
    for variant in variants:
        steps = (*variant.steps, *last)
        if variant.quantized:
            steps = (*variant.steps[:-1], last[0], variant.steps[-1], *last[1:])
        what = "" if variant.control is None else f"\ncontrol: {variant.control}"
        table.add_row(Text.assemble(variant.name, (what, "dim")), Text(" -> ".join(steps)))
    height, width = config.image.hw
    facts = (
        f"model {config.model}, data {config.data}, letterbox {height} x {width} (H x W), "
        f"{config.retrain.epochs} epochs a round, "
        f"{config.latency.rounds_min} to {config.latency.rounds_max} rounds of latency, "
        f"out {config.out}"
    )
    return Group(table, Text(facts))


def estimate_view(estimate: Estimate) -> RenderableType:
    """How long a run takes, by kind of work."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("what")
    table.add_column("time", justify="right")
    for part in estimate.parts:
        table.add_row(Text(part.title), Text(_span(part.low_s, part.high_s)))
    whole = f"About {_span(estimate.low_s, estimate.high_s)} on this host, as busy as it is now."
    kept = "Steps that are finished already are taken over and take no time."
    return Group(table, Text(whole, style="bold"), *map(Text, (kept, *estimate.notes)))


def _span(low_s: float, high_s: float) -> str:
    low, high = in_words(low_s), in_words(high_s)
    return low if low == high else f"{low} to {high}"


def audit_view(findings: Sequence[AuditFinding]) -> RenderableType:
    """One sentence per audited file or number, with its counts where they are known."""
    lines: list[RenderableType] = []
    for finding in findings:
        lines.append(Text(f"{finding.subject}: {finding.sentence}"))
        if finding.audit is None:
            continue
        structure = finding.audit.structure
        height, width = structure.macs_imgsz
        lines.append(
            Text(
                f"  {structure.parameters:,} parameters, "
                f"{structure.parameters_fused:,} with BatchNorm folded, "
                f"{structure.macs / 1e6:.0f} M MACs at {height} x {width} (H x W), "
                f"{len(structure.names)} classes, {len(structure.widths)} convolutions"
            )
        )
        lines.extend(
            Text(f"  left alone: {module} ({reason})")
            for module, reason in finding.audit.left_alone.items()
        )
    return Group(*lines)


def doctor_view(findings: Sequence[DoctorFinding]) -> RenderableType:
    """What was found on this machine, the worst first."""
    order = list(reversed(LEVEL_STYLES))
    table = Table(title="What could falsify a measurement here", title_justify="left")
    table.add_column("level")
    table.add_column("topic")
    table.add_column("finding")
    for finding in sorted(findings, key=lambda f: order.index(f.level)):
        style = LEVEL_STYLES[finding.level]
        table.add_row(Text(finding.level, style=style), finding.topic, Text(finding.sentence))
    return table


def selftest_view(result: SelfTest) -> RenderableType:
    """How often copies of known speed were told apart, and what that says of this host."""
    from prunebench.measuring.selftest import percent_text

    settings, alarms = result.settings, result.false_alarms
    typical = statistics.mean(repetition.median_ms for repetition in result.repetitions)
    table = Table(
        title=f"{result.model}: {typical:.2f} ms, threads {result.threads}", title_justify="left"
    )
    alone = len(result.repetitions) == 1
    shown = f"{result.level:.0%} interval" if alone else "lowest, highest"
    table.add_column("true difference")
    for column in (f"measured [{shown}]", "called different", "resampled", "rounds"):
        table.add_column(Text(column), justify="right")
    for index, verdict in enumerate(result.verdicts):
        pairs = [repetition.comparisons[index] for repetition in result.repetitions]
        ratios = [pair.ratio.estimate for pair in pairs]
        low, high = min(ratios), max(ratios)
        if alone:
            low, high = pairs[0].ratio.low, pairs[0].ratio.high
        middle, low, high = (100 * (r - 1) for r in (statistics.median(ratios), low, high))
        rounds = sorted({pair.rounds for pair in pairs})
        table.add_row(
            "none (A/A)" if verdict.slowdown == 1 else f"{verdict.slowdown - 1:.1%} slower",
            Text(f"{middle:+.2f} % [{low:+.2f}, {high:+.2f}]"),
            f"{verdict.told_apart} of {verdict.repetitions}",
            f"{verdict.resampled:.1%}",
            " to ".join(str(count) for count in dict.fromkeys((rounds[0], rounds[-1]))),
        )
    detectable = {
        settings.rounds_min: result.detectable_soon_percent,
        settings.rounds_max: result.detectable_percent,
    }
    facts = (
        f"False alarms: {alarms.told_apart} of {alarms.repetitions} measurements "
        f"[{alarms.share.low:.0%}, {alarms.share.high:.0%}], and {alarms.resampled:.1%} of those "
        "resampled from these rounds.",
        "Smallest difference found 9 times in 10: "
        + ", ".join(
            f"{percent_text(percent)} in {rounds} rounds" for rounds, percent in detectable.items()
        )
        + f"; half width of the A/A interval {result.half_width_percent:.2f} %.",
        f"Measuring takes {result.overhead:.2f} times the timed inference asked for "
        f"({settings.seconds:g} s each time).",
    )
    doubts = [Text(doubt, style="bold red") for doubt in result.doubts]
    if not doubts:
        wanted = settings.smallest_difference_percent
        doubts = [Text(f"Differences of {wanted:g} % measured here can be trusted.", style="green")]
    return Group(table, *(Text(fact) for fact in facts), *doubts)
