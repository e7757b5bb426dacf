"""Strategy against strategy, and what each further round gave."""

from __future__ import annotations

import itertools

from prunebench.common.text import percent, points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import tell
from prunebench.results.ranking.records import Effect, Metric, RelativeChange
from prunebench.results.report.document import (
    Block,
    Cell,
    Column,
    Item,
    Items,
    Paragraph,
    Section,
    Table,
    cells,
)
from prunebench.results.report.numbers import BLANK
from prunebench.results.report.significant_findings import compared
from prunebench.results.report.stored import StoredRun

METRICS: tuple[Metric, ...] = ("accuracy", "speed", "efficiency")


def strategies(run: StoredRun, m: Messages) -> Section | None:
    """What each strategy made of the pruned network, ``None`` without retraining."""
    effects = [effect for effect in run.ranking.effects if effect.kind == "strategy"]
    if not effects:
        return None
    columns = (
        Column(m("column.variant")),
        Column(m("column.against")),
        Column(m("column.parameters_change"), True),
        Column(m("column.accuracy_change"), True),
        Column(m("column.speed_change"), True),
        Column(m("column.retention"), True),
        Column(m("column.efficiency_change"), True),
        Column(m("column.verdict")),
        Column(m("column.minutes"), True),
    )
    rows = tuple(_strategy_row(run, effect, m) for effect in effects)
    blocks: list[Block] = [Table(m("strategies.caption"), columns, rows)]
    pairs = [Item(text) for text in _head_to_head(run, effects, m)]
    if pairs:
        blocks += [Paragraph(m("strategies.pairs")), Items(tuple(pairs))]
    settings = _settings(run, m)
    if settings is not None:
        blocks.append(settings)
    return Section("strategies", m("strategies.title"), tuple(blocks))


def rounds(run: StoredRun, m: Messages) -> Section | None:
    """What a further round of retraining gave, ``None`` where there was none."""
    effects = [effect for effect in run.ranking.effects if effect.kind == "round"]
    if not effects:
        return None
    columns = (
        Column(m("column.variant")),
        Column(m("column.against")),
        Column(m("column.accuracy_change"), True),
        Column(m("column.speed_change"), True),
        Column(m("column.efficiency_change"), True),
    )
    rows = tuple(
        cells(
            effect.variant,
            effect.reference,
            _cell(_points(run, effect), effect.accuracy, m),
            _change(effect.speed, m),
            _change(effect.efficiency, m),
        )
        for effect in effects
    )
    verdicts = Items(
        tuple(Item(round_verdict(run, effect, m), effect.variant) for effect in effects)
    )
    return Section(
        "rounds", m("rounds.title"), (Table(m("rounds.caption"), columns, rows), verdicts)
    )


def round_verdict(run: StoredRun, effect: Effect, m: Messages) -> str:
    """Whether a further round was worth it, as far as that is shown."""
    change = _points(run, effect)
    if not effect.accuracy.shown:
        return m("rounds.not_shown", change=change, reference=effect.reference)
    key = "rounds.gain" if effect.accuracy.percent.estimate > 0 else "rounds.loss"
    return m(key, change=change, reference=effect.reference)


def _strategy_row(run: StoredRun, effect: Effect, m: Messages) -> tuple[Cell, ...]:
    verdict = run.ranking.row(effect.variant).verdict
    grown = effect.parameters_percent
    speed = effect.speed.percent
    retention = speed.model_copy(
        update={
            "estimate": 100 + speed.estimate,
            "low": 100 + speed.low,
            "high": 100 + speed.high,
        }
    )
    return cells(
        effect.variant,
        effect.reference,
        BLANK if grown is None else f"{grown:+.1f} %",
        _cell(_points(run, effect), effect.accuracy, m),
        _change(effect.speed, m),
        percent(retention),
        _change(effect.efficiency, m),
        BLANK if verdict is None else m(f"verdict.{verdict}"),
        _minutes(run, effect.variant),
    )


def _minutes(run: StoredRun, name: str) -> str:
    """What a variant's own training and those it goes on from took together."""
    variant, total = run.variant(name), 0.0
    while variant is not None and variant.training is not None and variant.training.round:
        total += variant.training.minutes
        variant = None if variant.parent is None else run.variant(variant.parent)
    return f"{total:.1f}" if total else BLANK


def _points(run: StoredRun, effect: Effect) -> str:
    """The change in mAP50: a percentage would explode where the reference finds nothing."""
    pair = run.ranking.difference("accuracy", effect.variant, effect.reference)
    change = pair.seen_from(effect.variant)
    return BLANK if change is None else points(change, signed=True)


def _change(change: RelativeChange, m: Messages) -> Cell:
    return _cell(percent(change.percent, signed=True), change, m)


def _cell(text: str, change: RelativeChange, m: Messages) -> Cell:
    if not change.shown:
        return Cell(m("change.not_shown", change=text), "open")
    return Cell(text, "good" if change.percent.estimate > 0 else "bad")


def _head_to_head(run: StoredRun, effects: list[Effect], m: Messages) -> list[str]:
    """The strategies' variants of the same round against each other."""
    found = []
    numbers = {v.name: v.training.round for v in run.variants if v.training is not None}
    for a, b in itertools.combinations(effects, 2):
        if a.strategy == b.strategy or numbers.get(a.variant) != numbers.get(b.variant):
            continue
        pairs = (compared(run.ranking, metric, a.variant, b.variant) for metric in METRICS)
        found += [tell(pair, run.ranking, m) for pair in pairs if pair is not None]
    return found


def _settings(run: StoredRun, m: Messages) -> Table | None:
    """Hyper-parameters of the strategies, those that differ first."""
    chosen = {
        name: settings.model_dump() for name, settings in run.config.retrain.strategies.items()
    }
    if not chosen:
        return None
    keys = list(dict.fromkeys(key for settings in chosen.values() for key in settings))
    texts = {
        key: tuple(str(settings[key]) if key in settings else BLANK for settings in chosen.values())
        for key in keys
    }
    ordered = sorted(keys, key=lambda key: len(set(texts[key])) == 1)
    columns = (Column(m("column.setting")), *(Column(name, True) for name in chosen))
    rows = tuple(cells(key, *texts[key]) for key in ordered)
    return Table(m("strategies.settings"), columns, rows)
