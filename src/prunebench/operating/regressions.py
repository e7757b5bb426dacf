"""Which slowdowns of promoted variants two measurements confirm."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.common.records import Record
from prunebench.common.text import listed
from prunebench.results.history.compare import RunChange, RunComparison, change_sentence

OTHER_HOST = ("cpu", "isa", "physical_cores", "logical_cores", "quota")
"""Fields of a fingerprint that make it another host; the others may be what slowed it down."""


class Regression(Record):
    """A slowdown measured twice, what changed on the host, and the run that confirmed it."""

    first: RunChange
    again: RunChange
    host_differences: tuple[str, ...]
    run: str

    @property
    def variant(self) -> str:
        """The variant that became slower."""
        return self.first.variant


def regression_sentence(regression: Regression) -> str:
    """Both measurements in words."""
    first, again = change_sentence(regression.first), change_sentence(regression.again)
    text = f"{first} Measured again: {again}"
    if regression.host_differences:
        text += f" What changed on the host: {'; '.join(regression.host_differences)}."
    return text


def suspected(comparison: RunComparison) -> tuple[str, ...]:
    """Variants of the same file that became slower on the same host, in order, once each."""
    if any(what.partition(":")[0] in OTHER_HOST for what in comparison.host_differences):
        return ()
    slower = [c.variant for c in comparison.changes if c.verdict == "slower" and c.same_file]
    return tuple(dict.fromkeys(slower))


def confirmed(first: RunComparison, second: RunComparison) -> tuple[Regression, ...]:
    """What both comparisons with the same earlier run show to be slower.

    A disturbance of the host has to strike twice, and alike, to pass for a regression.
    """
    again = {(c.variant, c.threads): c for c in second.changes}
    names = set(suspected(first)) & set(suspected(second))
    return tuple(
        Regression(
            first=change,
            again=repeated,
            host_differences=second.host_differences,
            run=second.after,
        )
        for change in first.changes
        if change.variant in names
        and change.verdict == "slower"
        and (repeated := again[change.variant, change.threads]).verdict == "slower"
    )


def summary(comparisons: Sequence[RunComparison], regressions: Sequence[Regression]) -> str:
    """One line for the state of a run."""
    if regressions:
        names = dict.fromkeys(regression.variant for regression in regressions)
        return f"regression confirmed: {listed(list(names))}"
    slower = [c.variant for one in comparisons for c in one.changes if c.verdict == "slower"]
    if slower:
        return f"slower than before: {listed(list(dict.fromkeys(slower)))}"
    return "no slowdown is shown"
