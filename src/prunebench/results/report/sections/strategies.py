"""Strategy against strategy, and what each further round gave."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from prunebench.common.records import Interval
from prunebench.common.text import percent, points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import tell
from prunebench.results.ranking.records import Difference, Effect, Metric, RelativeChange
from prunebench.results.report import document as doc
from prunebench.results.report.numbers import BLANK
from prunebench.results.report.significant_findings import compared
from prunebench.results.report.stored import ReportedRun

METRICS: tuple[Metric, ...] = ("accuracy", "speed", "efficiency")


def strategies(run: ReportedRun, m: Messages) -> doc.Section | None:
    """What each strategy made of the pruned network, ``None`` without retraining."""
    effects = [effect for effect in run.ranking.effects if effect.kind == "strategy"]
    if not effects:
        return None
    heads = doc.titles(
        m,
        *("variant", "against", "parameters_change#", "accuracy_change#", "speed_change#"),
        *("retention#", "efficiency_change#", "verdict", "minutes#"),
    )
    rows = (_strategy_row(run, effect, m) for effect in effects)
    pairs = doc.items(tell(pair, run.ranking, m) for pair in _head_to_head(run, effects))
    return doc.section(
        "strategies",
        m,
        doc.table(m("strategies.caption"), heads, rows),
        None if pairs is None else m("strategies.pairs"),
        pairs,
        _settings(run, m),
    )


def rounds(run: ReportedRun, m: Messages) -> doc.Section | None:
    """What a further round of retraining gave, ``None`` where there was none."""
    effects = [effect for effect in run.ranking.effects if effect.kind == "round"]
    if not effects:
        return None
    rows = (
        doc.cells(
            effect.variant,
            effect.reference,
            _points_cell(run, effect, m),
            _change(effect.speed, m),
            _change(effect.efficiency, m),
        )
        for effect in effects
    )
    heads = doc.titles(
        m, "variant", "against", "accuracy_change#", "speed_change#", "efficiency_change#"
    )
    verdicts = doc.items(
        doc.Item(round_verdict(run, effect, m), effect.variant) for effect in effects
    )
    return doc.section("rounds", m, doc.table(m("rounds.caption"), heads, rows), verdicts)


def round_verdict(run: ReportedRun, effect: Effect, m: Messages) -> str:
    """Whether a further round was worth it, as far as that is shown."""
    gain = _gain(run, effect)
    change = _points(gain)
    if not effect.accuracy.shown:
        return m("rounds.not_shown", change=change, reference=effect.reference)
    key = "rounds.gain" if gain is not None and gain.estimate > 0 else "rounds.loss"
    return m(key, change=change, reference=effect.reference)


def _strategy_row(run: ReportedRun, effect: Effect, m: Messages) -> tuple[doc.Cell, ...]:
    verdict = run.ranking.row(effect.variant).verdict
    grown, speed = effect.parameters_percent, effect.speed.percent
    minutes = run.minutes(effect.variant)
    retention = (
        None
        if speed is None
        else replace(
            speed, **{name: 100 + getattr(speed, name) for name in ("estimate", "low", "high")}
        )
    )
    return doc.cells(
        effect.variant,
        effect.reference,
        None if grown is None else f"{grown:+.1f} %",
        _points_cell(run, effect, m),
        _change(effect.speed, m),
        None if retention is None else percent(retention),
        _change(effect.efficiency, m),
        m(f"verdict.{verdict}") if verdict else None,
        f"{minutes:.1f}" if minutes else None,
    )


def _gain(run: ReportedRun, effect: Effect) -> Interval | None:
    """The change in mAP50: a percentage would explode where the reference finds nothing."""
    pair = run.ranking.difference("accuracy", effect.variant, effect.reference)
    return pair.seen_from(effect.variant)


def _points(gain: Interval | None) -> str:
    return BLANK if gain is None else points(gain, signed=True)


def _points_cell(run: ReportedRun, effect: Effect, m: Messages) -> doc.Cell:
    gain = _gain(run, effect)
    return _cell(_points(gain), gain, effect.accuracy.shown, m)


def _change(change: RelativeChange, m: Messages) -> doc.Cell:
    if change.percent is None:
        return doc.Cell(m("change.no_ratio"), "open")
    return _cell(percent(change.percent, signed=True), change.percent, change.shown, m)


def _cell(text: str, change: Interval | None, shown: bool, m: Messages) -> doc.Cell:
    if not shown or change is None:
        return doc.Cell(m("change.not_shown", change=text), "open")
    return doc.Cell(text, "good" if change.estimate > 0 else "bad")


def _head_to_head(run: ReportedRun, effects: list[Effect]) -> Iterator[Difference]:
    """The strategies' variants of the same round against each other."""
    numbers = {v.name: v.training.round for v in run.variants if v.training is not None}
    for a, b in itertools.combinations(effects, 2):
        if a.strategy != b.strategy and numbers.get(a.variant) == numbers.get(b.variant):
            pairs = (compared(run.ranking, metric, a.variant, b.variant) for metric in METRICS)
            yield from (pair for pair in pairs if pair is not None)


def _settings(run: ReportedRun, m: Messages) -> doc.Table | None:
    """Hyper-parameters of the strategies, those of their recipe too; those that differ first."""
    trainings = [v.training for v in run.variants if v.training is not None and v.training.round]
    used = {training.strategy: training.arguments for training in trainings}
    shared, chosen = run.config.retrain, {}
    for name, (strategy, activation) in shared.chains.items():
        own = shared.strategies[strategy].model_dump(exclude={"args"}, exclude_none=True)
        own |= {} if activation is None else {"activation": activation}
        chosen[name] = own | used.get(name, {})
    if not chosen:
        return None
    keys = dict.fromkeys(key for settings in chosen.values() for key in settings)
    texts = {key: [str(one.get(key, BLANK)) for one in chosen.values()] for key in keys}
    ordered = sorted(texts, key=lambda key: len(set(texts[key])) == 1)
    heads = (*doc.titles(m, "setting"), *(f"{name}#" for name in chosen))
    rows = (doc.cells(key, *texts[key]) for key in ordered)
    return doc.table(m("strategies.settings"), heads, rows)
