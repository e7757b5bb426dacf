"""A model card beside every ONNX file: what it is, how good, how fast and where, how to use it.

Markdown below YAML metadata, as model hubs read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from prunebench.common.variant_record import VariantRecord
from prunebench.measuring.heads import HEADS
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_variant
from prunebench.results.ranking.classes import class_labels
from prunebench.results.ranking.records import RankedVariant
from prunebench.results.report.numbers import with_interval
from prunebench.results.report.render import render
from prunebench.results.report.stored import ReportedRun
from prunebench.results.tuned import session_code

CARD = "README.md"
LICENCE = "agpl-3.0"
"""That of Ultralytics, whose network and trainer it is made with."""


def cards(run: ReportedRun) -> dict[Path, str]:
    """The card of every ranked variant, by its file in the variant's folder."""
    found = {}
    for row in run.ranking.rows:
        variant = run.variant(row.name)
        if variant is not None and variant.exported is not None and variant.audit is not None:
            onnx = run.folder / variant.exported.onnx.path
            found[onnx.with_name(CARD)] = card(run, variant, row)
    return found


def card(run: ReportedRun, variant: VariantRecord, row: RankedVariant) -> str:
    """The card of one variant.

    Raises:
        ValueError: It is not exported or not audited.
    """
    if variant.exported is None or variant.audit is None:
        raise ValueError(f"{variant.name} has no file or no audit")
    metadata = _metadata(run, variant, variant.audit.structure.task, row)
    found = tell_variant(variant, m := Messages(metric=run.ranking.metric))
    tuned = next((one for one in run.outcome.tuned if one.variant == row.name), None)
    file = Path(variant.exported.onnx.path).name
    height, width = variant.exported.imgsz
    head = HEADS[variant.audit.structure.task]
    asked = [f"{n}={v:g}" for n, v in run.config.latency.thresholds.items() if n in head.thresholds]
    return render(
        "card.md.j2",
        m=m,
        run=run,
        latency=run.config.latency,
        row=row,
        variant=variant,
        exported=variant.exported,
        structure=variant.audit.structure,
        classes=list(class_labels(variant.audit.structure.names).values()),
        metadata=yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).rstrip(),
        found=found[:1].upper() + found[1:],
        uses=[advice.use for advice in run.ranking.advice if advice.recommended == row.name],
        file=file,
        tuned=tuned,
        code=None if tuned is None else session_code(tuned, file),
        height=height,
        arguments=", ".join([f"imgsz=({height}, {width})", *asked]),
        head=head,
        width=width,
        with_interval=with_interval,
    )


def _metadata(
    run: ReportedRun, variant: VariantRecord, task: str, row: RankedVariant
) -> dict[str, Any]:
    int8, accuracy = variant.quantization is not None, variant.accuracy
    shown = {title: value.estimate for title, value in row.shown_map50(run.ranking.metric).items()}
    if row.trainings > 1 and accuracy is not None:
        # The file's own, and not the mean of all trainings.
        shown = dict(zip(shown, accuracy.by_overlap.values(), strict=True))
    metrics = [
        {"type": title.replace(" ", "_").lower(), "value": round(value, 4)}
        for title, value in shown.items()
    ]
    kind = HEADS[task].hub_task
    return {
        "license": LICENCE,
        "library_name": "ultralytics",
        "pipeline_tag": kind,
        "tags": ["yolo", "onnx", str(row.verdict), *(["int8"] if int8 else [])],
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
