"""What a ranking's records say, in the words of a catalogue."""

from __future__ import annotations

import itertools
from dataclasses import replace

from prunebench.common.records import Interval
from prunebench.common.text import compact, percent, points, times
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_grounds
from prunebench.results.ranking import doubts, records
from prunebench.results.ranking.advice import PREFERENCE

Fact = records.Advice | records.Difference | records.Effect | records.AgainstControl | doubts.Doubt


def tell(fact: Fact, ranking: records.Ranking, m: Messages) -> str:
    """A fact of a ranking in words."""
    match fact:
        case records.Difference():
            return _difference(fact, ranking, m)
        case records.Advice():
            return m.clauses(_advice(fact, ranking, m))
        case records.Effect():
            return _effect(fact, m)
        case records.AgainstControl():
            return _control(fact, ranking, m)
        case _:
            return _doubt(fact, ranking, m)


def headline(ranking: records.Ranking, m: Messages) -> str | None:
    """What to ship, against the baseline: for balance, or for every use where they agree."""
    balance = next((advice for advice in ranking.advice if advice.use == "balance"), None)
    if balance is None:
        return None
    parts = _headline(balance, ranking, m)
    if any(isinstance(doubt, doubts.OneTraining) for doubt in ranking.warnings):
        parts.append(m("sentence.headline.one_training"))
    return m.clauses(parts)


def _headline(balance: records.Advice, ranking: records.Ranking, m: Messages) -> list[str]:
    if balance.recommended is None:
        return _advice(balance, ranking, m)
    chosen = ranking.row(balance.recommended)
    agreed = all(advice.recommended == chosen.name for advice in ranking.advice)
    if agreed and chosen.verdict == "unpruned" and chosen.control is None:
        return [m("sentence.headline.unpruned", name=chosen.name)]
    if chosen.times_baseline is None or chosen.map50_change is None:
        return _advice(balance, ranking, m)
    said = m(
        f"sentence.headline.{'every' if agreed else 'balance'}",
        name=chosen.name,
        times=times(chosen.times_baseline),
        map50=m(f"map50.{ranking.metric}"),
        change=points(chosen.map50_change, signed=True),
    )
    notes = {
        "sentence.advice.control": chosen.control is not None,
        "sentence.headline.confounded": chosen.confounded,
        "sentence.advice.accuracy": chosen.keeps_accuracy == "not shown",
    }
    return [said, *(m(key) for key, holds in notes.items() if holds)]


def neighbours(ranking: records.Ranking) -> list[records.Difference]:
    """Each row against the next: in efficiency, and in speed where they are two networks.

    None of a table that was read back: it does not have the differences.
    """
    pairs = list[records.Difference]()
    if not ranking.differences:
        return pairs
    for upper, lower in itertools.pairwise(row.name for row in ranking.rows):
        speed = ranking.difference("speed", upper, lower)
        pairs.append(ranking.difference("efficiency", upper, lower))
        pairs += [] if speed.same_network else [speed]
    return pairs


def _difference(difference: records.Difference, ranking: records.Ranking, m: Messages) -> str:
    metric, measured = difference.metric, difference.interval
    values = {"first": difference.first, "second": difference.second}
    speed = ranking.difference("speed", *values.values())
    values["noun"] = m(f"sentence.noun.{metric}")
    if measured is None:
        if metric == "efficiency" and speed.interval:
            shown = ".significant" if difference.significant else ""
            return m.clauses([m(f"sentence.no_ratio{shown}", **values)])
        rounds = m.counted("rounds", difference.rounds)
        return m.clauses([m("sentence.incomparable", rounds=rounds, **values)])
    if difference.significant:
        values |= {"map50": m(f"map50.{ranking.metric}"), "difference": _worded(metric, measured)}
        return m.clauses([m(f"sentence.significant.{metric}", **values)])
    values["difference"] = _worded(metric, measured, signed=True)
    if difference.same_network and metric in ("speed", "latency"):
        return m.clauses([m("sentence.same_network", **values)])
    parts = [m("sentence.tie", **values)]
    limit = ranking.smallest_difference_percent
    if metric != "accuracy" and -limit < measured.low and measured.high < limit:
        parts.append(m("sentence.tie.small", limit=f"{limit:g}"))
    elif measured.low > 0 or measured.high < 0:
        parts.append(m("sentence.tie.alone"))
    if difference.more_rounds is not None:
        rounds = m.counted("more_rounds", difference.more_rounds)
        settles = f"{difference.settles_percent:g}"
        parts.append(m("sentence.tie.more", rounds=rounds, percent=settles))
    return m.clauses(parts)


def _effect(effect: records.Effect, m: Messages) -> str:
    changes = []
    if effect.parameters_percent is not None:
        change = f"{effect.parameters_percent:+.1f} %"
        changes.append(m("sentence.effect.parameters", change=change))
    for name in ("accuracy", "speed", "efficiency"):
        found: records.RelativeChange = getattr(effect, name)
        if found.percent is None:
            changes.append(m("sentence.effect.no_ratio", metric=m(f"sentence.noun.{name}")))
            continue
        change = percent(found.percent, signed=True)
        if not found.shown:
            change = m("change.not_shown", change=change)
        changes.append(m(f"sentence.effect.{name}", change=change))
    names = {"variant": effect.variant, "reference": effect.reference}
    return m("sentence.effect", changes=", ".join(changes), **names)


def _control(pair: records.AgainstControl, ranking: records.Ranking, m: Messages) -> str:
    control, row = ranking.row(pair.control), ranking.row(pair.variant)
    speed = ranking.difference("speed", control.name, row.name)
    accuracy = ranking.difference("accuracy", control.name, row.name)
    names = {"control": control.name, "variant": row.name}
    verdict = m(f"sentence.control.{pair.verdict}", **names)
    by_speed, by_accuracy = (_seen(pair, control.name, m) for pair in (speed, accuracy))
    if not (speed.significant or speed.same_network or accuracy.significant):
        key = "sentence.control.ties"
        values = {"speed": by_speed, "accuracy": by_accuracy, **names}
    else:
        key = "sentence.control"
        how = "faster" if speed.significant else "same" if speed.same_network else "tie"
        tie = "" if accuracy.significant else ".tie"
        values = {
            "speed": m(f"sentence.control.{how}", difference=by_speed, **names),
            "accuracy": m(f"sentence.control.accuracy{tie}", difference=by_accuracy),
        }
    parts = [m(key, verdict=verdict, **values)]
    if row.size_mb < control.size_mb:
        sizes = {"size": f"{row.size_mb:.2f}", "other": f"{control.size_mb:.2f}"}
        parts.append(m("sentence.control.size", variant=row.name, **sizes))
    return m.clauses(parts)


def _seen(difference: records.Difference, control: str, m: Messages) -> str:
    """The figure from the control's side; in brackets where the two are tied."""
    measured = difference.seen_from(control)
    if measured is None:
        return ""
    if difference.significant:
        return _worded(difference.metric, measured)
    signed = _worded(difference.metric, measured, signed=True)
    return m("sentence.control.difference", difference=signed)


def _worded(metric: records.Metric, measured: Interval, *, signed: bool = False) -> str:
    return (points if metric == "accuracy" else percent)(measured, signed=signed)


def _advice(advice: records.Advice, ranking: records.Ranking, m: Messages) -> list[str]:
    use, fps = m(f"sentence.use.{advice.use}"), f"{ranking.realtime_fps:g}"
    if advice.recommended is None:
        if advice.confounded:
            names = m.some(advice.confounded)
            alone = "" if advice.leader else ".alone"
            key = f"sentence.advice.confounded{alone}"
            return [m(key, use=use, names=names, leader=advice.leader)]
        return _nobody(advice.use, use, ranking, m)
    chosen = ranking.row(advice.recommended)
    figures = m(
        "sentence.advice.figures",
        overlap=m(f"map50.{ranking.metric}"),
        map50=points(chosen.map50),
        fps=compact(chosen.fps),
        size=f"{chosen.size_mb:.1f}",
    )
    values = {"use": use, "name": chosen.name, "figures": figures}
    if advice.leader is None:
        parts = [m("sentence.advice.ship", **values)]
    else:
        decides, breaks_ties = PREFERENCE[advice.use]
        values["superlative"] = m(f"sentence.superlative.{decides}")
        values["comparative"] = m(f"sentence.comparative.{breaks_ties}")
        parts = [m("sentence.advice.instead", leader=advice.leader, **values)]
    if advice.tied:
        parts.append(m("sentence.advice.tied", names=m.listed(advice.tied)))
    if chosen.control is not None:
        parts.append(m("sentence.advice.control"))
    if advice.confounded:
        parts.append(m("sentence.advice.rivals", names=m.some(advice.confounded)))
    if chosen.keeps_accuracy == "not shown":
        parts.append(m("sentence.advice.accuracy"))
    if losses := chosen.class_losses:
        worst = {"name": losses[0].name, "reference": chosen.classes_against}
        ends = {"before": f"{losses[0].before:.3f}", "after": f"{losses[0].after:.3f}"}
        parts.append(m.counted("sentence.advice.classes", len(losses), **worst, **ends))
    if advice.use == "accuracy" and chosen.realtime != "yes":
        parts.append(m(f"sentence.advice.realtime.{chosen.realtime}", fps=fps))
    return parts


def _nobody(use: records.Use, told: str, ranking: records.Ranking, m: Messages) -> list[str]:
    """That no variant is shown to keep the limits of a use, and for which it is open."""
    accurate = [row for row in ranking.rows if row.keeps_accuracy != "no"]
    verdicts = {
        row.name: (row.keeps_memory, "yes" if use == "accuracy" else row.realtime)
        for row in accurate
    }
    key = "sentence.advice.none.accuracy" if use == "accuracy" else "sentence.advice.none"
    limits = {"fps": f"{ranking.realtime_fps:g}"}
    if ranking.max_rss_mb is not None and accurate:
        key, limits["limit"] = f"{key}.memory", f"{ranking.max_rss_mb:g}"
    parts = [m(key, use=told, **limits)]
    undecided = [n for n, found in verdicts.items() if "not shown" in found and "no" not in found]
    if undecided:
        parts.append(m("sentence.advice.none.open", names=m.listed(undecided)))
    return parts


def _letterbox(costs: doubts.LetterboxCosts, ranking: records.Ranking, m: Messages) -> str:
    """What the letterbox costs the baseline."""
    found, loss, key = costs.letterbox, costs.loss, "sentence.doubt.letterbox"
    height, width = found.deployed
    size = {"trained": max(found.trained), "height": height, "width": width}
    parts = [m(key, baseline=found.baseline, **size)]
    if loss is None:
        return m.clauses([*parts, m(f"{key}.unknown", control=found.control)])
    names = {"baseline": found.baseline, "control": found.control}
    values = {**names, "map50": m(f"map50.{ranking.metric}")}
    before, after = (ranking.row(n).map50.estimate for n in (found.control, found.baseline))
    values |= {"before": f"{before:.3f}", "after": f"{after:.3f}"}
    if not costs.shown:
        parts.append(m(f"{key}.open", loss=points(loss, signed=True), **values))
    elif loss.estimate > 0:
        parts.append(m(f"{key}.loss", loss=points(loss), **values))
    else:
        ends = {"estimate": -loss.estimate, "low": -loss.high, "high": -loss.low}
        parts.append(m(f"{key}.gain", gain=points(replace(loss, **ends)), **values))
    if costs.limit is not None:
        parts.append(m(f"{key}.limit", limit=f"{costs.limit:g}", **names))
    return m.clauses(parts)


def _doubt(doubt: doubts.Doubt, ranking: records.Ranking, m: Messages) -> str:
    if isinstance(doubt, doubts.LetterboxCosts):
        return _letterbox(doubt, ranking, m)
    values = doubt.model_dump()
    if isinstance(doubt, doubts.Restored | doubts.Altered):
        parameters = ranking.row(doubt.name).parameters or 0
        values["count"] = f"{parameters:,}"
        if isinstance(doubt, doubts.Altered):
            values["why"] = tell_grounds(doubt.grounds, m, parameters=parameters)
    elif isinstance(doubt, doubts.SameNetwork):
        values["names"] = m.listed(doubt.names)
    elif isinstance(doubt, doubts.Confounded | doubts.OneTraining):
        values["names"] = m.some(doubt.names)
    elif isinstance(doubt, doubts.RetrainingHarmed):
        values["change"] = points(doubt.change, signed=True)
    elif isinstance(doubt, doubts.MeasuredApart):
        values["difference"] = percent(doubt.difference)
    elif isinstance(doubt, doubts.FewFrames):
        values |= {"names": m.some(doubt.names), "fps": f"{ranking.realtime_fps:g}"}
    elif isinstance(doubt, doubts.CpuDisagrees):
        key = f"sentence.doubt.{doubt.kind}.each"
        each = (
            m(key, name=name, by_wall=times(by_wall), by_cpu=times(doubt.by_cpu[name]))
            for name, by_wall in doubt.by_wall.items()
        )
        values["each"] = "; ".join(each)
    return m(f"sentence.doubt.{doubt.kind}", **values)
