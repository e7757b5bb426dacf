"""What was seen on the host and in the networks, in words; clauses have no full stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from prunebench.common import records, variant_record
from prunebench.measuring.host.block import Block
from prunebench.measuring.latency.raw import Noise
from prunebench.results.diagnoses import Explained, Explanation, Sound
from prunebench.results.messages.catalogue import Messages
from prunebench.results.soak import Soak
from prunebench.variants.audit import AuditFinding, OnnxFinding
from prunebench.variants.int8.on_device import Measured
from prunebench.variants.rewriting.choice import Passes

if TYPE_CHECKING:
    from prunebench.results.devices import Device


def tell_noise(noise: Noise, m: Messages) -> str:
    """A clause about what may have falsified a measurement."""
    return m(f"noise.{noise.kind}", **asdict(noise))


def tell_block(block: Block, m: Messages) -> str:
    """What widths become multiples of, and the timings that say so."""
    wide = max(block.microseconds)
    narrow = wide - max(1, block.channels // 2)
    layout = m("block.plain")
    if block.padded:
        width, padded = next(iter(block.padded.items()))
        layout = m("block.padded", width=width, padded=padded)
    told = m(
        "block.measured" if block.channels > 1 else "block.any",
        block=block.channels,
        numbers=m(f"block.{block.numbers}"),
        narrow=narrow,
        wide=wide,
        time=block.microseconds[narrow] / block.microseconds[wide],
        arithmetic=(narrow / wide) ** 2,
        layout=layout,
        place=m("block.there", there=block.there) if block.there else m("block.here"),
    )
    return told if block.settled else f"{told} {m('block.unsettled')}"


def tell_integers(found: Measured, there: str, m: Messages) -> str:
    """What a device runs INT8 files fastest with, and the timings that say so."""
    narrow = "integers" if found.integers.narrow else "float"
    signed = m(f"integers.{found.integers.activations}", **asdict(found.signed_faster))
    first = m(f"integers.first.{narrow}", **asdict(found.narrow_faster))
    return m("integers.there", there=there, signed=signed, first=first)


def tell_soak(soak: Soak, m: Messages) -> str:
    """A sentence about what minutes of load changed."""
    moved = m.some([m("soak.one", **one.model_dump()) for one in soak.moved])
    parts = [m("soak.moved" if moved else "soak.same", minutes=soak.minutes, moved=moved)]
    parts.append(m("soak.times", times=soak.times))
    for key in ("mhz", "celsius"):
        first, last = getattr(soak.first, key), getattr(soak.last, key)
        if first is not None and last is not None:
            parts.append(m(f"soak.{key}", first=first, last=last))
    if soak.last.throttled:
        parts.append(m("soak.throttled", throttled=soak.last.throttled, runs=soak.last.runs))
    return m.clauses(parts)


def tell_explanation(explanation: Explanation, m: Messages) -> str:
    """A sentence about why a pruned variant is as fast as it is."""
    values = explanation.model_dump()
    if isinstance(explanation, Explained):
        values["cause"] = m(f"cause.{explanation.cause.kind}", **values["cause"])
    elif isinstance(explanation, Sound):
        values["names"] = m.listed(explanation.names)
        low, high = f"{explanation.least:.2f}", f"{explanation.most:.2f}"
        values["times"] = low if low == high else m("range", low=low, high=high)
    return m(f"explanation.{explanation.kind}", **values)


def tell_finding(finding: AuditFinding, m: Messages) -> str:
    """A sentence about what an audited file or number is."""
    if finding.structure is not None:
        unknown = m("audit.unknown", parameters=finding.structure.parameters)
        return m("audit.file.unknown", unknown=unknown)
    if finding.audit is None:
        stock = finding.stock or m("audit.number.unknown")
        return m("audit.number", number=finding.subject, stock=stock)
    found = tell_audit(finding.audit, m)
    if (onnx := finding.onnx) is not None:
        if onnx.provenance is None:
            found = m("audit.no_provenance", found=found)
        if (int8 := onnx.quantization) is not None:
            found += ", " + m("made.int8", quantized=int8.quantized, layers=int8.layers)
    return m("audit.file", verdict=m(f"verdict.{finding.audit.verdict}"), found=found)


def tell_passes(passes: Passes, m: Messages) -> list[str]:
    """Sentences: what every pass of rewriting gains on the host that counts, what is left out."""
    height, width = passes.imgsz
    gains = {
        name: m("passes.gain", name=called, **asdict(ratio))
        for name, ratio in passes.faster.items()
        if (called := m(f"rewriting.{name}"))
    }
    place = {"height": height, "width": width, "host": passes.there or m("passes.host")}
    each = m.listed([gains[name] for name in passes.applied if name in gains])
    told = [m("passes.applied", **place, each=each)] if each else []
    if each := m.listed([gains[name] for name in passes.slower if name in gains]):
        told.append(m("passes.slower", **place, each=each))
    return told


def tell_model(model: str, audit: records.Audit, m: Messages) -> str:
    """What a model that is given is, as the command ``audit`` says it."""
    finding = AuditFinding(subject=model, stock=audit.structure.stock, audit=audit)
    return f"{model}: {tell_finding(finding, m)}"


def tell_provenance(found: OnnxFinding, m: Messages) -> list[str]:
    """Clauses about what an exported file says of its making, and what is on integers in it."""
    told = []
    if (made := found.provenance) is not None:
        told.append(m("audit.kept", kept=made.kept_share, **made.model_dump()))
        if made.imgsz == made.baseline_imgsz:
            macs = {"mmacs": made.macs / 1e6, "baseline_mmacs": made.baseline_macs / 1e6}
            told.append(m("audit.kept.macs", share=made.macs / made.baseline_macs, **macs))
        if made.strategy is not None:
            told.append(m("audit.trained", strategy=made.strategy, round=made.round))
    if found.head is not None:
        told.append(m(f"audit.head.{found.head}"))
    if (rewriting := found.rewriting) is not None:
        for key, places in (("done", rewriting.done), ("unknown", rewriting.unknown)):
            if named := tell_places(places, m):
                told.append(m(f"audit.rewriting.{key}", places=named))
        if not any(rewriting.done.values()):
            told.append(m("audit.rewriting.none"))
        slower = [called for name in rewriting.slower if (called := m(f"rewriting.{name}"))]
        if slower:
            told.append(m("audit.rewriting.slower", passes=m.listed(slower)))
    if found.quantization is not None:
        told.append(m("audit.int8", **found.quantization.model_dump()))
    elif found.integer_layers:
        layers = {"layers": found.integer_layers, "all_layers": found.layers}
        told.append(m("audit.int8.unknown", **layers))
    return told


def tell_places(places: Mapping[str, int], m: Messages) -> str:
    """What rewriting found in a graph, by how many places of each kind; empty where nothing."""
    return m.listed(
        [
            m("audit.rewriting.places", name=m(f"rewriting.{name}"), places=count)
            for name, count in places.items()
            if count
        ]
    )


def tell_grounds(grounds: records.Grounds, m: Messages, **values: object) -> str:
    """A clause about what an audit's verdict rests on; it takes the network's ``parameters``."""
    return m(f"audit.{grounds.kind}", **grounds.model_dump(), **values)


def tell_variant(variant: variant_record.VariantRecord, m: Messages) -> str:
    """Clauses about what an audited variant is and what it was made for; else empty."""
    audit, reached = variant.audit, variant.reached
    if audit is None:
        return ""
    parts = [tell_audit(audit, m)]
    if reached is not None and reached.goal is not None:
        parts.append(m("made.target", goal=reached.goal, reached=_reached(reached, m)))
    if variant.budget is not None:
        parts += _budget(variant.budget, audit.structure.macs, m)
    if variant.exported is not None and variant.exported.head is not None:
        parts.append(m(f"made.{variant.exported.head}"))
    if (int8 := variant.quantization) is not None:
        parts.append(m("made.int8", quantized=int8.quantized, layers=int8.layers))
    if others := [f"{one.seed}" for one in variant.trainings if _is_another(one, audit)]:
        parts.append(m("made.other_networks", seeds=m.listed(others)))
    return ", ".join(parts)


def _is_another(training: variant_record.VariantRecord, shipped: records.Audit) -> bool:
    """Whether one of several trainings gave another network than the file that is shipped."""
    found = training.audit
    return found is not None and found.structure.widths != shipped.structure.widths


def tell_left_alone(audit: records.Audit, m: Messages) -> str:
    """A sentence about the modules pruning left alone, by reason; empty where there are none."""
    modules: dict[str, list[str]] = {}
    for module, left in audit.left_alone.items():
        modules.setdefault(_left(left, m), []).append(module)
    told = (m("left.modules", names=m.some(n, 3), reason=why) for why, n in modules.items())
    return m("left", modules="; ".join(told)) if modules else ""


def tell_judgement(judgement: variant_record.Judgement, m: Messages) -> str:
    """A clause: "round 2: +0.4 points mAP50 [-0.6, +1.3], no gain shown; stopped"."""
    values: dict[str, object] = {**judgement.model_dump(), "before": judgement.round - 1}
    if (gain := judgement.gain) is not None:
        ends = {"change": gain.estimate, "low": gain.low, "high": gain.high}
        values |= {name: f"{100 * value:+z.1f}" for name, value in ends.items()}
        values["overlap"] = m(f"map50.{judgement.metric}")
    found = m(f"judgement.{judgement.finding}", **values)
    return m("judgement", round=judgement.round, found=found)


def _left(left: records.LeftAlone, m: Messages) -> str:
    reason = m(f"left.{left.reason}", **left.model_dump())
    if left.shared_with is None:
        return reason
    return m("left.shared", module=left.shared_with, reason=reason)


def tell_audit(audit: records.Audit, m: Messages) -> str:
    """A clause about what an audit found a network to be, beside its verdict."""
    structure, before = audit.structure, audit.grounds.parent_parameters
    found = tell_grounds(
        audit.grounds,
        m,
        stock=structure.stock,
        parameters=structure.parameters,
        fused=structure.parameters_fused,
        layers=len(structure.widths),
        share=structure.parameters / before if before else 1.0,
    )
    parts = [found]
    if audit.grounds.heads < audit.grounds.parent_heads:
        parts.append(m("audit.heads", **audit.grounds.model_dump()))
    if (was := structure.replaced_activation) is not None:
        kinds, layers = m.listed(list(structure.activations)), sum(structure.activations.values())
        parts.append(m("audit.activation", activation=kinds, was=was, layers=layers))
    return ", ".join(parts)


def _reached(reached: variant_record.Reached, m: Messages) -> str:
    values = {**reached.model_dump(), "mmacs": reached.macs / 1e6}
    counted = m("made.reached.counted", **values)
    if reached.speedup is None:
        return counted
    kind = "measured" if reached.met else "nearest"
    if reached.unsure is not None:
        kind = "unsure"
        values |= {"low": reached.unsure.low, "high": reached.unsure.high}
    measured = m(f"made.reached.{kind}", **values)
    where = m("made.reached.there", there=reached.there) if reached.there else ""
    throttled = m("made.reached.throttled") if reached.throttled else ""
    return f"{measured}{where}{throttled}; {counted}"


def _budget(budget: variant_record.StockBudget, macs: int, m: Messages) -> list[str]:
    key = "made.macs" if budget.pruned_macs is None else "made.macs.beside"
    pruned_mmacs = (budget.pruned_macs or 0) / 1e6
    size = m(key, mmacs=macs / 1e6, pruned=budget.pruned, pruned_mmacs=pruned_mmacs)
    if budget.own_epochs is None:
        retraining = m.counted("epochs", budget.retraining_epochs)
        return [size, m("made.budget.retraining", retraining=retraining)]
    own = m.counted("epochs", budget.own_epochs)
    return [size, m("made.budget.both", own=own, retraining=budget.retraining_epochs)]


def tell_device(device: Device, m: Messages) -> str:
    """What a device is and measured, or why it has no figures."""
    if device.fingerprint is None or device.ranking is None:
        return m("devices.failed", reason=device.failure or "")
    threads = m.counted("threads", device.ranking.rankings[0].threads)
    key = "devices.model_only" if device.model_only else "devices.host"
    return m(key, cpu=device.fingerprint.cpu, threads=threads)
