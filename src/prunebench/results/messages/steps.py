"""The steps that make a variant, and those that may fail, in the words of a language."""

from __future__ import annotations

import functools
import re

from prunebench.results.messages.catalogue import ENGLISH, Messages, catalogue


def tell_step(step: str, m: Messages) -> str:
    """A step by its name in records, which is English; what no text knows stays as it is."""
    for key, shape in _shapes():
        if found := shape.fullmatch(step):
            places = found.groupdict()
            if "step" in places:  # of one of several trainings
                places["step"] = tell_step(places["step"], m)
            return m(key, **places)
    return step


@functools.cache
def _shapes() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The keys of the texts and what they match: the English texts are the names in records."""
    return tuple(
        (key, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(text))))
        for key, text in catalogue(ENGLISH).items()
        if key.startswith("step.")
    )
