"""What happened to the parameters: the audit told as a story, and the training behind it."""

from __future__ import annotations

from prunebench.common.records import Audit, TrainingSummary
from prunebench.common.variant_record import Judgement, VariantRecord
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement, tell_left_alone, tell_variant
from prunebench.results.messages.steps import tell_step
from prunebench.results.report import document as doc
from prunebench.results.report import figures
from prunebench.results.report.numbers import relative
from prunebench.results.report.stored import ReportedRun


def structure(run: ReportedRun, m: Messages) -> doc.Section:
    """Pruned here, kept or restored there, and by which step."""
    rebuilt = any(
        v.training is not None and v.training.transferred < v.training.tensors
        for v in run.variants
        if v.audit is not None and v.audit.verdict == "restored"
    )
    return doc.section(
        "structure",
        m,
        m("structure.how"),
        doc.items(doc.Item(_story(run, variant, m), variant.name) for variant in run.variants),
        m("structure.cause") if rebuilt else None,
        figures.widths(run, m),
    )


def training(run: ReportedRun, m: Messages) -> doc.Section | None:
    """The curves of every training, ``None`` where nothing was trained."""
    trained = {v.name: _course(v.training, v.judgement, m) for v in run.variants if v.training}
    trained |= {v.name: _left_out(v.not_trained, m) for v in run.variants if v.not_trained}
    if not trained:
        return None
    told = doc.items(doc.Item(text, name) for name, text in trained.items())
    return doc.section("training", m, told, figures.training_curves(run, m))


def _story(run: ReportedRun, variant: VariantRecord, m: Messages) -> str:
    if variant.not_trained is not None:
        return _left_out(variant.not_trained, m)
    parent = run.variant(variant.parent)
    parts = []
    if variant.audit is not None or variant.failure is None:
        parts.append(_made(variant, parent, m))
    if variant.audit is not None:
        before = None if parent is None or _is_stock(variant) else parent.audit
        parts.append(_counts(variant.audit, before, m))
        parts.append(m("structure.audit", why=tell_variant(variant, m)))
        parts.append(tell_left_alone(variant.audit, m))
        if variant.audit.verdict == "restored":
            already = parent and parent.audit and parent.audit.verdict == "restored"
            lost = "structure.lost_before" if already else "structure.lost"
            parts.append(m(lost, step=tell_step(variant.steps[-1], m)))
    if variant.failure is not None:
        reason = variant.failure.reason.strip().rstrip(".")
        parts.append(m("structure.failed", step=tell_step(variant.failure.step, m), reason=reason))
    return " ".join(filter(None, parts))


def _left_out(judgement: Judgement, m: Messages) -> str:
    return m("structure.not_trained", reason=tell_judgement(judgement, m))


def _made(variant: VariantRecord, parent: VariantRecord | None, m: Messages) -> str:
    step, trained = tell_step(variant.steps[-1], m), variant.training
    if parent is None:
        return m("structure.given", step=step)
    if _is_stock(variant):
        return m("structure.scratch", step=step)
    if trained is None:
        return m("structure.made", parent=parent.name, step=step)
    counts = {"transferred": f"{trained.transferred:,}", "tensors": f"{trained.tensors:,}"}
    return m("structure.trained", parent=parent.name, step=step, **counts)


def _is_stock(variant: VariantRecord) -> bool:
    """Whether it was trained from random weights."""
    return variant.training is not None and variant.training.strategy == "baseline"


def _counts(audit: Audit, before: Audit | None, m: Messages) -> str:
    now = audit.structure
    values = {
        "now": f"{now.parameters:,}",
        "fused": f"{now.parameters_fused:,}",
        "kept": f"{100 * audit.kept_share:.1f}",
    }
    if before is None:
        return m("structure.counts", **values)
    was = before.structure
    changed = sum(was.widths.get(layer) != width for layer, width in now.widths.items())
    key = "structure.widths.some" if changed else "structure.widths.none"
    return m(
        "structure.counts.changed",
        was=f"{was.parameters:,}",
        change=relative(now.parameters, was.parameters),
        widths=m(key, changed=changed, total=len(now.widths)),
        **values,
    )


def _course(trained: TrainingSummary, judgement: Judgement | None, m: Messages) -> str:
    parts = []
    if judgement is not None:
        parts.append(m("training.went_on", reason=tell_judgement(judgement, m)))
    took = {"epochs": m.counted("epochs", trained.epochs), "minutes": f"{trained.minutes:.1f}"}
    parts.append(m("training.course", strategy=trained.strategy, **took))
    if trained.trained_on is not None:
        on = trained.trained_on
        several = f"{on.devices} x " if on.devices > 1 else ""
        device = f"{several}{on.name}" if on.name else on.device.upper()
        parts.append(m("training.on", device=device, precision=on.precision, batch=on.batch))
    if trained.stopped is not None:
        parts.append(m("training.stopped", reason=trained.stopped.strip().rstrip(".")))
    if trained.resumed:
        parts.append(m.counted("training.resumed", trained.resumed))
    return " ".join(parts)
