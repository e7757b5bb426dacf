"""Every hostile input gets its sentence and exit code, and is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_kit import INPUTS, Case, content_of

from prunebench.config.loading import Config
from tests.hostile import checkpoints, configurations, destinations, exported, runs

CASES = (
    *checkpoints.CASES,
    *configurations.CASES,
    *destinations.CASES,
    *exported.CASES,
    *runs.CASES,
)


@pytest.mark.usefixtures("given_here")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.command.split()[0]}")
def test_a_hostile_input(
    case: Case,
    console: Callable[[list[str]], tuple[int, str]],
    scenes: Path,
    tmp_path: Path,
) -> None:
    inputs = tmp_path / INPUTS
    inputs.mkdir()
    case.make(inputs)
    before = content_of(inputs)
    code, said = console(case.arguments(inputs, scenes))
    # Tables fold long lines.
    assert " ".join(case.says.split()) in said
    assert "Traceback" not in said
    assert code == case.code
    assert content_of(inputs) == before
    if code == 2:
        assert not list((tmp_path / "work").iterdir())


BOUNDED = ("integer", "number")


def leaves(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Every schema of a value in a JSON schema."""
    found = [schema] if "type" in schema else []
    for inner in schema.get("properties", {}).values():
        found += leaves(inner)
    for key in ("anyOf", "allOf", "oneOf"):
        for inner in schema.get(key, ()):
            found += leaves(inner)
    if isinstance(schema.get("items"), dict):
        found += leaves(schema["items"])
    return found


def test_every_number_of_the_configuration_is_bounded() -> None:
    numbers = [
        leaf
        for name, section in Config.model_json_schema()["$defs"].items()
        for key, value in {"": Config.model_json_schema(), **section["properties"]}.items()
        # Targets of pruning are read by their own rules.
        if (name, key) != ("PruneConfig", "target")
        for leaf in leaves(value)
        if leaf["type"] in BOUNDED
    ]
    assert len(numbers) > 40
    for leaf in numbers:
        assert {"maximum", "exclusiveMaximum"} & leaf.keys(), leaf
        assert {"minimum", "exclusiveMinimum"} & leaf.keys(), leaf
