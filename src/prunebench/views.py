"""What ``plan``, ``audit`` and ``doctor`` print, as rich renderables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prunebench.audit import Finding as AuditFinding
from prunebench.config import Config
from prunebench.doctor import Finding as DoctorFinding
from prunebench.plan import PlannedVariant

LEVEL_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def plan_view(config: Config, variants: Sequence[PlannedVariant]) -> RenderableType:
    """The variants of an experiment with the chain of steps that makes each."""
    table = Table(title=f"{config.name}: {len(variants)} variants", title_justify="left")
    table.add_column("variant")
    table.add_column("steps")
    last = ("export to ONNX", "accuracy", "latency")
    for variant in variants:
        table.add_row(Text(variant.name), Text(" -> ".join((*variant.steps, *last))))
    height, width = config.image.hw
    facts = (
        f"model {config.model}, data {config.data}, letterbox {height} x {width} (H x W), "
        f"{config.retrain.epochs} epochs a round, "
        f"{config.latency.rounds_min} to {config.latency.rounds_max} rounds of latency, "
        f"out {config.out}"
    )
    return Group(table, Text(facts))


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
