"""What audited files and numbers of parameters are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from prunebench.common.text import counted
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import (
    tell_finding,
    tell_left_alone,
    tell_provenance,
)
from prunebench.variants.audit import AuditFinding


def audit_view(findings: Sequence[AuditFinding]) -> RenderableType:
    """One sentence per audited file or number, with its counts where they are known."""
    lines = list[RenderableType]()
    for finding in findings:
        classes = finding.counted is not None and finding.counted.task == "classify"
        m = Messages(metric="top1" if classes else "box")
        lines.append(Text(f"{finding.subject}: {tell_finding(finding, m)}"))
        if (structure := finding.counted) is None:
            continue
        height, width = structure.macs_imgsz
        lines.append(
            Text(
                f"  {structure.parameters:,} parameters, "
                f"{structure.parameters_fused:,} with BatchNorm folded, "
                f"{structure.macs / 1e6:.0f} M MACs at {height} x {width} (H x W), "
                f"{counted(len(structure.names), 'class', 'classes')}, "
                f"{counted(len(structure.widths), 'convolution')}"
            )
        )
        if finding.two_heads:
            lines.append(Text(f"  {m('audit.head.both')}"))
        if finding.onnx is not None:
            lines.extend(Text(f"  {told}") for told in tell_provenance(finding.onnx, m))
        if finding.audit is not None and finding.audit.left_alone:
            lines.append(Text(f"  {tell_left_alone(finding.audit, m)}"))
    return Group(*lines)
