"""What happened to the parameters: the audit told as a story, and the training behind it."""

from __future__ import annotations

from prunebench.common.records import Audit, Judgement, TrainingSummary, VariantRecord
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement, tell_left_alone, tell_variant
from prunebench.results.report import figures
from prunebench.results.report.document import Item, Paragraph, Section, items, section
from prunebench.results.report.numbers import count, relative
from prunebench.results.report.stored import ReportedRun


def structure(run: ReportedRun, m: Messages) -> Section:
    """Pruned here, kept or restored there, and by which step."""
    rebuilt = any(_was_rebuilt(variant) for variant in run.variants)
    return section(
        "structure",
        m,
        Paragraph(m("structure.how")),
        items(Item(_story(run, variant, m), variant.name) for variant in run.variants),
        Paragraph(m("structure.cause")) if rebuilt else None,
        figures.widths(run, m),
    )


def training(run: ReportedRun, m: Messages) -> Section | None:
    """The curves of every training, ``None`` where nothing was trained."""
    trained = [
        Item(_course(v.training, v.judgement, m), v.name)
        for v in run.variants
        if v.training is not None
    ]
    trained += [
        Item(m("structure.not_trained", reason=tell_judgement(v.not_trained, m)), v.name)
        for v in run.variants
        if v.not_trained is not None
    ]
    if not trained:
        return None
    return section("training", m, items(trained), figures.training_curves(run, m))


def _story(run: ReportedRun, variant: VariantRecord, m: Messages) -> str:
    if variant.not_trained is not None:
        return m("structure.not_trained", reason=tell_judgement(variant.not_trained, m))
    parent = run.variant(variant.parent)
    parts = [_made(variant, parent, m)]
    if variant.audit is not None:
        before = None if parent is None or _is_stock(variant) else parent.audit
        parts.append(_counts(variant.audit, before, m))
        parts.append(m("structure.audit", why=tell_variant(variant, m)))
        if variant.audit.left_alone:
            parts.append(_left_alone(variant.audit, m))
        if variant.audit.verdict == "restored":
            parts.append(_loss(variant, parent, m))
    if variant.failure is not None:
        reason = _sentence(variant.failure.reason)
        parts.append(m("structure.failed", step=variant.failure.step, reason=reason))
    return " ".join(parts)


def _loss(variant: VariantRecord, parent: VariantRecord | None, m: Messages) -> str:
    """By which step the pruning was lost."""
    already = parent is not None and parent.audit is not None and parent.audit.verdict == "restored"
    return m("structure.lost_before" if already else "structure.lost", step=variant.steps[-1])


def _made(variant: VariantRecord, parent: VariantRecord | None, m: Messages) -> str:
    if parent is None:
        return m("structure.given", step=variant.steps[-1])
    if _is_stock(variant):
        return m("structure.scratch", step=variant.steps[-1])
    if variant.training is None:
        return m("structure.made", parent=parent.name, step=variant.steps[-1])
    trained = variant.training
    return m(
        "structure.trained",
        parent=parent.name,
        step=variant.steps[-1],
        transferred=f"{trained.transferred:,}",
        tensors=f"{trained.tensors:,}",
    )


def _is_stock(variant: VariantRecord) -> bool:
    """Whether it was trained from random weights: round 0 is a training but no retraining."""
    return variant.training is not None and variant.training.round == 0


def _counts(audit: Audit, before: Audit | None, m: Messages) -> str:
    now = audit.structure
    values = {
        "now": count(now.parameters),
        "fused": count(now.parameters_fused),
        "kept": f"{100 * audit.kept_share:.1f}",
    }
    if before is None:
        return m("structure.counts", **values)
    was = before.structure
    changed = sum(was.widths.get(layer) != width for layer, width in now.widths.items())
    return m(
        "structure.counts.changed",
        was=count(was.parameters),
        change=relative(now.parameters, was.parameters),
        widths=_widths(changed, len(now.widths), m),
        **values,
    )


def _widths(changed: int, total: int, m: Messages) -> str:
    if not changed:
        return m("structure.widths.none")
    return m("structure.widths.some", changed=changed, total=total)


def _left_alone(audit: Audit, m: Messages) -> str:
    reasons: dict[str, list[str]] = {}
    for module, left in audit.left_alone.items():
        reasons.setdefault(tell_left_alone(left, m), []).append(module)
    told = "; ".join(f"{', '.join(modules)}: {reason}" for reason, modules in reasons.items())
    return m("structure.left_alone", modules=told)


def _was_rebuilt(variant: VariantRecord) -> bool:
    return (
        variant.audit is not None
        and variant.audit.verdict == "restored"
        and variant.training is not None
        and variant.training.transferred < variant.training.tensors
    )


def _course(trained: TrainingSummary, judgement: Judgement | None, m: Messages) -> str:
    parts = []
    if judgement is not None:
        parts.append(m("training.went_on", reason=tell_judgement(judgement, m)))
    parts += [
        m(
            "training.course",
            strategy=trained.strategy,
            epochs=m.counted("epochs", trained.epochs),
            minutes=f"{trained.minutes:.1f}",
        )
    ]
    if trained.stopped is not None:
        parts.append(m("training.stopped", reason=_sentence(trained.stopped)))
    if trained.resumed:
        parts.append(m.counted("training.resumed", trained.resumed))
    return " ".join(parts)


def _sentence(reason: str) -> str:
    return reason.strip().rstrip(".")
