"""The plan of an experiment, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prunebench.common.text import counted, listed
from prunebench.config.loading import Config
from prunebench.experiment.duration import Estimate, in_words
from prunebench.experiment.plan import PlannedVariant


def plan_view(
    config: Config, variants: Sequence[PlannedVariant], notes: Sequence[str] = ()
) -> RenderableType:
    """The variants of an experiment with the chain of steps that makes each."""
    title = f"{config.name}: {len(variants)} variants"
    table = Table("variant", "steps", title=title, title_justify="left")
    last = ("export to ONNX", "accuracy", "latency")
    for variant in variants:
        steps = (*variant.steps, *last)
        if variant.quantized:
            steps = (*variant.steps[:-1], last[0], variant.steps[-1], *last[1:])
        what = "" if variant.control is None else f"\ncontrol: {variant.control}"
        what += f"\n{len(variant.seeds)} trainings" if variant.seeds else ""
        table.add_row(Text.assemble(variant.name, (what, "dim")), Text(" -> ".join(steps)))
    height, width = config.image.hw
    least, most = config.latency.rounds_min, config.latency.rounds_max
    rounds = counted(most, "round") if least == most else f"{least} to {most} rounds"
    facts = (
        f"model {config.model}, data {config.data}, input {height} x {width} (H x W), "
        f"{counted(config.retrain.epochs, 'epoch')} a round, {rounds} of latency, "
        f"out {config.out}"
    )
    return Group(table, Text(facts), *map(Text, notes))


def estimate_view(estimate: Estimate) -> RenderableType:
    """How long a run takes, by kind of work."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("what")
    table.add_column("time", justify="right")
    for part in estimate.parts:
        table.add_row(Text(part.title), Text(_span(part.low_s, part.high_s)))
    whole = f"About {_span(estimate.low_s, estimate.high_s)} on this host, as busy as it is now."
    kept = "Steps that are finished already are taken over and take no time."
    longer = "A quantization that has to leave layers in float takes longer."
    notes = [kept, longer] if estimate.quantizes else [kept]
    if estimate.devices:
        measure = "measures" if len(estimate.devices) == 1 else "measure"
        notes.insert(0, f"Then {listed(estimate.devices)} {measure} too, which is not in it.")
    if estimate.cluster is not None:
        there = f"Pruning, training and export run on the Dask cluster at {estimate.cluster}"
        notes.insert(0, f"{there}. How long it trains was not tried, and is not in it.")
    return Group(table, Text(whole, style="bold"), *map(Text, notes))


def _span(low_s: float, high_s: float) -> str:
    low, high = in_words(low_s), in_words(high_s)
    return low if low == high else f"{low} to {high}"
