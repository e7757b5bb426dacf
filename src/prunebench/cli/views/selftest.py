"""What difference this host can tell."""

from __future__ import annotations

import statistics

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prunebench.measuring.selftest_verdict import SelfTest, percent_text
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise


def selftest_view(result: SelfTest) -> RenderableType:
    """How often copies of known speed were told apart, and what that says of this host."""
    settings, alarms = result.settings, result.false_alarms
    typical = statistics.mean(repetition.median_ms for repetition in result.repetitions)
    table = Table(
        title=f"{result.model}: {typical:.2f} ms, threads {result.threads}", title_justify="left"
    )
    alone = len(result.repetitions) == 1
    shown = f"{result.level:.0%} interval" if alone else "lowest, highest"
    table.add_column("true difference")
    for column in (f"measured [{shown}]", "called different", "resampled", "rounds"):
        table.add_column(Text(column), justify="right")
    for index, verdict in enumerate(result.verdicts):
        pairs = [repetition.comparisons[index] for repetition in result.repetitions]
        ratios = [pair.ratio.estimate for pair in pairs]
        low, high = min(ratios), max(ratios)
        if alone:
            low, high = pairs[0].ratio.low, pairs[0].ratio.high
        middle, low, high = (100 * (r - 1) for r in (statistics.median(ratios), low, high))
        rounds = sorted({pair.rounds for pair in pairs})
        table.add_row(
            "none (A/A)" if verdict.slowdown == 1 else f"{verdict.slowdown - 1:.1%} slower",
            Text(f"{middle:+.2f} % [{low:+.2f}, {high:+.2f}]"),
            f"{verdict.significant} of {verdict.repetitions}",
            f"{verdict.resampled:.1%}",
            " to ".join(str(count) for count in dict.fromkeys((rounds[0], rounds[-1]))),
        )
    detectable = {
        settings.rounds_min: result.detectable_soon_percent,
        settings.rounds_max: result.detectable_percent,
    }
    facts = (
        f"False alarms: {alarms.significant} of {alarms.repetitions} measurements "
        f"[{alarms.share.low:.0%}, {alarms.share.high:.0%}], and {alarms.resampled:.1%} of those "
        "resampled from these rounds.",
        "Smallest difference found 9 times in 10: "
        + ", ".join(
            f"{percent_text(percent)} in {rounds} rounds" for rounds, percent in detectable.items()
        )
        + f"; half width of the A/A interval {result.half_width_percent:.2f} %.",
        f"Measuring takes {result.overhead:.2f} times the timed inference asked for "
        f"({settings.seconds:g} s each time).",
    )
    noise = [one for repetition in result.repetitions for one in repetition.noise]
    seen = [f"Seen while measuring: {tell_noise(one, Messages())}." for one in noise[:1]]
    doubts = [Text(doubt, style="bold red") for doubt in (*result.doubts, *seen)]
    if not doubts:
        wanted = settings.smallest_difference_percent
        doubts = [Text(f"Differences of {wanted:g} % measured here can be trusted.", style="green")]
    return Group(table, *(Text(fact) for fact in facts), *doubts)
