"""Sentences that records carry in English, told in the report's language.

The English catalogue holds each of them as a pattern with places. A sentence that fits one is told
again by the text of the same key with the same values; one that fits none, as those of another
version may, stays as it was recorded and is marked as English.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from string import Formatter

from prunebench.results.messages.catalogue import ENGLISH as RECORDED
from prunebench.results.messages.catalogue import Messages, catalogue
from prunebench.results.report.document import Item

PREFIX = "recorded."
NAMES = "names"
"""The place that holds a list, "a, b and c", which every language writes its own way."""

NESTED = "sentence"
"""The place that holds a recorded sentence itself."""

WORDS = (NAMES, NESTED, "name", "first", "second", "faster", "stock", "difference", "times")
"""Places that hold words or several numbers; every other holds one number, with a % or without."""

NUMBER = r"[+-]?\d[\d,.]*%?"


def recorded_item(text: str, m: Messages) -> Item:
    """A recorded sentence as an entry of a list."""
    told = _told(text, m)
    return Item(text, lang=RECORDED) if told is None else Item(told)


def recorded(text: str, m: Messages) -> str:
    """A recorded sentence, or part of one, for the middle of a text."""
    told = _told(text, m)
    return text if told is None else told


def _told(text: str, m: Messages) -> str | None:
    if m.lang == RECORDED:
        return None
    for key, pattern in _patterns():
        found = pattern.fullmatch(text)
        if found is not None:
            values = found.groupdict()
            if NAMES in values:
                values[NAMES] = m.listed(_names(values[NAMES]))
            if NESTED in values:
                nested = _told(values[NESTED], m)
                if nested is None:
                    continue
                values[NESTED] = nested
            return m(key, **values)
    return None


def _names(listed: str) -> Sequence[str]:
    return re.split(r", | and ", listed)


@functools.cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Key and pattern of every recorded sentence, in the catalogue's order."""
    return tuple(
        (key, _pattern(text)) for key, text in catalogue(RECORDED).items() if key.startswith(PREFIX)
    )


def _pattern(text: str) -> re.Pattern[str]:
    parts = []
    for literal, place, _, _ in Formatter().parse(text):
        parts.append(re.escape(literal))
        if place:
            parts.append(f"(?P<{place}>{'.+?' if place in WORDS else NUMBER})")
    return re.compile("".join(parts), re.DOTALL)
