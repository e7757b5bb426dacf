"""Every training of the variants that were trained with several seeds."""

from __future__ import annotations

from collections.abc import Iterator

from prunebench.common.variant_record import VariantRecord
from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import document as doc
from prunebench.results.report.stored import ReportedRun


def trainings(run: ReportedRun, m: Messages) -> doc.Section | None:
    """What each seed gave, and which file is shipped; ``None`` where every variant has one."""
    several = [variant for variant in run.variants if variant.trainings]
    if not several:
        return None
    heads = doc.titles(
        m, "variant", "seed#", "validation#", "map50_of_seed#", "minutes_of_seed#", "shipped"
    )
    rows = [row for variant in several for row in _rows(run, variant, m)]
    names = {variant.name for variant in several}
    int8 = any(v.quantization is not None and v.parent in names for v in run.variants)
    return doc.section(
        "seeds",
        m,
        m("seeds.how", n=len(several[0].trainings)),
        m("seeds.same_images") if run.outcome.split == "val" else None,
        m("seeds.int8") if int8 else None,
        doc.table(m("seeds.caption"), heads, rows),
    )


def _rows(run: ReportedRun, variant: VariantRecord, m: Messages) -> Iterator[tuple[doc.Cell, ...]]:
    for one in variant.trainings:
        training, accuracy = one.training, one.accuracy
        validation = None if training is None else training.validation
        map50 = None
        if accuracy is not None:
            map50 = accuracy.by_overlap.get(run.ranking.metric)
        shipped = doc.Cell(m("seeds.shipped"), "good") if one.seed == variant.shipped else None
        yield doc.cells(
            variant.name,
            str(one.seed),
            None if validation is None else f"{validation:.3f}",
            None if map50 is None else f"{map50:.3f}",
            None if training is None else f"{training.minutes:.1f}",
            shipped,
        )
