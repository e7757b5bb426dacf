"""Fixed texts, one JSON catalogue per language."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from prunebench.common.errors import ConfigError
from prunebench.common.plain import Overlap

ENGLISH = "en"
FOLDER = files("prunebench.results.messages")


class Messages:
    """The texts of one language, about a run whose accuracy is measured by ``metric``.

    Texts say mAP50; where that is another metric, its name takes that place, and a text whose key
    begins with the metric's takes that of the text it is named after. An empty one is the name of
    what such networks do not have.

    Raises:
        ConfigError: There is no catalogue for it.
    """

    def __init__(self, lang: str = ENGLISH, metric: Overlap = "box") -> None:
        if lang not in languages():
            what = f"the report is not available in {lang!r}"
            raise ConfigError(what, where="lang", fix=f"use one of {', '.join(languages())}")
        self.lang = lang
        self._texts = catalogue(lang, metric)

    def __call__(self, key: str, **values: object) -> str:
        """The text of ``key`` with its ``{places}`` filled."""
        return self._texts[key].format_map(values)

    def counted(self, key: str, number: int, **values: object) -> str:
        """The text of ``key`` for a number of things: ``key.one`` or ``key.other``."""
        form = f"{key}.one" if number == 1 else f"{key}.other"
        return self(form, n=f"{number:,}", **values)

    def listed(self, names: Sequence[str]) -> str:
        """ "a", "a and b", "a, b and c"."""
        if len(names) < 2:
            return "".join(names)
        return self("list.last", first=", ".join(names[:-1]), last=names[-1])

    def some(self, names: Sequence[str], most: int = 5) -> str:
        """As ``listed``, but with a count instead of the names beyond ``most``."""
        if len(names) <= most:
            return self.listed(names)
        shown = names[: most - 1]
        return self("list.more", first=", ".join(shown), n=len(names) - len(shown))

    def clauses(self, parts: Sequence[str]) -> str:
        """Clauses as running text, with a full stop at its end."""
        return f"{self('clauses.between').join(parts)}."


def languages() -> tuple[str, ...]:
    """Codes of the languages there is a catalogue for."""
    return tuple(sorted(p.name[:-5] for p in FOLDER.iterdir() if p.name.endswith(".json")))


@functools.cache
def catalogue(lang: str, metric: Overlap = "box") -> Mapping[str, str]:
    """Every text of a language by its key."""
    texts: dict[str, str] = json.loads((FOLDER / f"{lang}.json").read_text(encoding="utf-8"))
    if metric != "top1":
        return texts
    name = texts[f"map50.{metric}"]
    reworded = {
        key: re.sub(r"\ban mAP50", f"a {name}", text).replace("mAP50", name).replace("AP50", name)
        for key, text in texts.items()
        if not key.startswith("map50.")
    }
    own = {key.partition(":")[2]: text for key, text in texts.items() if key.startswith("top1:")}
    return {**texts, **reworded, **own}
