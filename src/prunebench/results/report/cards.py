"""A model card beside every ONNX file: what it is, how good, how fast and where, how to use it.

Markdown below YAML metadata, as model hubs read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from prunebench.common.files import write_atomically
from prunebench.common.records import VariantRecord
from prunebench.common.text import counted
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_variant
from prunebench.results.ranking.records import RankedVariant
from prunebench.results.report.numbers import count, with_interval
from prunebench.results.report.render import escape_markdown
from prunebench.results.report.stored import ReportedRun

CARD = "README.md"
LICENCE = "agpl-3.0"
"""That of Ultralytics, whose network and trainer it is made with."""

HUB_TASKS = {"detect": "object-detection", "segment": "image-segmentation"}


def write_cards(run: ReportedRun) -> None:
    """Write the card of every ranked variant into its folder."""
    for row in run.ranking.rows:
        variant = run.variant(row.name)
        if variant is not None and variant.exported is not None and variant.audit is not None:
            onnx = run.folder / variant.exported.onnx.path
            write_atomically(onnx.with_name(CARD), card(run, variant, row))


def card(run: ReportedRun, variant: VariantRecord, row: RankedVariant) -> str:
    """The card of one variant.

    Args:
        run: Its run.
        variant: It, exported and audited.
        row: Its row of the ranking.

    Raises:
        ValueError: It is not exported or not audited.
    """
    if variant.exported is None or variant.audit is None:
        raise ValueError(f"{variant.name} has no file or no audit")
    structure, exported = variant.audit.structure, variant.exported
    height, width = exported.imgsz
    latency = run.config.latency
    cpu = escape_markdown(run.latency.fingerprint.cpu)
    threads = counted(run.ranking.threads, "thread")
    why = escape_markdown(tell_variant(variant, Messages()))
    made = escape_markdown(" -> ".join(variant.steps))
    name = Path(exported.onnx.path).name
    uses = [advice.use for advice in run.ranking.advice if advice.recommended == row.name]
    lines = [
        "---",
        yaml.safe_dump(_metadata(run, variant, row), sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {escape_markdown(run.config.name)}: {row.name}",
        "",
        f"{why[:1].upper()}{why[1:]}. Made by: {made}.",
        "",
        f"Recommended for: {', '.join(uses)}." if uses else "Not recommended for any use.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {k} | {with_interval(v, digits=3)} |" for k, v in row.shown_map50.items()),
        f"| FPS, end to end | {with_interval(row.fps)} |",
        f"| model only, ms | {with_interval(row.latency_ms)} |",
        f"| keeps {run.ranking.realtime_fps:g} FPS | {row.realtime} |",
        f"| file, MB | {row.size_mb:.2f} |",
        f"| parameters | {count(structure.parameters)} |",
        f"| structure | {row.verdict} |",
        f"| rank in efficiency | {row.label} of {len(run.ranking.rows)} |",
        "",
        f"Brackets are {100 * run.ranking.level:g} % intervals. Measured on {cpu} with {threads} "
        f"of onnxruntime {run.latency.fingerprint.onnxruntime}; it says nothing of other machines.",
    ]
    if run.latency.noise:
        lines += ["", "The host was noisy while measuring, so the speeds are provisional."]
    lines += [
        "",
        "## Use",
        "",
        "```python",
        "from ultralytics import YOLO",
        "",
        f'model = YOLO("{name}", task="{structure.task}")',
        f'model.predict("image.jpg", imgsz=({height}, {width}), conf={latency.confidence:g}, '
        f"iou={latency.iou:g}, max_det={latency.max_det})",
        "```",
        "",
        f"The input is fixed: 1 x 3 x {height} x {width}, RGB in 0..1, letterboxed. Class names "
        "and these thresholds are in the file's metadata.",
        "",
        f"Classes: {', '.join(escape_markdown(n) for n in structure.names.values())}.",
        "",
        f"SHA-256 of the file: `{exported.onnx.sha256}`. Run `{run.outcome.run}`, data "
        f"{escape_markdown(run.config.data)}.",
        "",
    ]
    return "\n".join(lines)


def _metadata(run: ReportedRun, variant: VariantRecord, row: RankedVariant) -> dict[str, Any]:
    task = "detect" if variant.audit is None else variant.audit.structure.task
    metrics = [
        {"type": title.replace(" ", "_").lower(), "value": round(value.estimate, 4)}
        for title, value in row.shown_map50.items()
    ]
    kind = HUB_TASKS.get(task, task)
    return {
        "license": LICENCE,
        "library_name": "ultralytics",
        "pipeline_tag": kind,
        "tags": ["yolo", "onnx", str(row.verdict), *(["int8"] if variant.quantization else [])],
        "model-index": [
            {
                "name": row.name,
                "results": [
                    {
                        "task": {"type": kind},
                        "dataset": {"name": Path(run.config.data).stem, "type": "custom"},
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
