"""The report's texts: catalogues, numbers, Markdown."""

from __future__ import annotations

import math
import re
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import prunebench.results
from prunebench.common.records import Interval
from prunebench.config.loading import parse_config
from prunebench.experiment.plan import plan_variants
from prunebench.results.messages.catalogue import Messages, catalogue, languages
from prunebench.results.messages.steps import tell_step
from prunebench.results.report.numbers import quotient, relative, with_interval
from prunebench.results.report.render import escape_markdown, script_json

PACKAGE = Path(prunebench.results.__file__).parent
STRONG = ("strong_open", "strong_close")
LITERAL_KEY = re.compile(r"""\bm(\.counted)?\(\s*["']([a-z0-9._ -]+)["']""")


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("lang", languages())
def test_every_language_has_every_text_with_its_places(lang: str) -> None:
    english, other = catalogue("en"), catalogue(lang)
    assert set(other) == set(english)
    for key, text in english.items():
        assert places(other[key]) == places(text), key


def test_every_text_that_is_asked_for_exists() -> None:
    asked = set()
    for path in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.j2")):
        for counted, key in LITERAL_KEY.findall(path.read_text(encoding="utf-8")):
            asked |= {f"{key}.one", f"{key}.other"} if counted else {key}
    assert len(asked) > 100
    for lang in languages():
        assert asked <= set(catalogue(lang)), lang


EVERYTHING = (
    {"controls": ["int8", "resolution", "smaller", "plain-export", "other-head"]},
    {"model": "yolov8n.yaml", "prune": {"target": ["1.5x", "2x"]}, "quantize": "int8"},
    {
        "prune": {"sparsity": {"kind": "group_lasso", "epochs": 1}},
        "retrain": {"activation": "relu", "rounds": 2},
    },
)
FAILING = ("export", "quantize", "convert", "parity", "accuracy", "ship", "latency", "make, seed 1")


def test_every_step_has_its_name_in_every_language() -> None:
    plans = (plan_variants(parse_config({"model": "best.pt"} | c), 320) for c in EVERYTHING)
    steps = {step for plan in plans for variant in plan for step in variant.steps}
    for step in (*steps, *FAILING, "run in openvino"):
        assert tell_step(step, Messages("en")) == step
        assert re.search("[가-힣]", tell_step(step, Messages("ko"))), step
    assert tell_step("retrain qat with relu round 2", Messages("ko")) == "qat 재학습(relu) 2라운드"
    assert tell_step("make, seed 12", Messages("ko")) == "만들기(시드 12)"
    assert tell_step("what a table says", Messages("ko")) == "what a table says"


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 round"), (2, "2 rounds"), (1200, "1,200 rounds")]
)
def test_counted(number: int, text: str) -> None:
    assert Messages("en").counted("rounds", number) == text


def test_lists_of_names() -> None:
    m = Messages("en")
    assert m.listed([]) == ""
    assert m.listed(["a"]) == "a"
    assert m.listed(["a", "b", "c"]) == "a, b and c"
    assert m.some(["a", "b", "c"], 3) == "a, b and c"
    assert m.some(["a", "b", "c", "d"], 3) == "a, b and 2 more"


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((9.494, 9.41, 9.57), "9.49 [9.41, 9.57]"),
        ((88.1234, 85.67, 90.5), "88.1 [85.7, 90.5]"),
        ((871.2, 808.4, 956.0), "871 [808, 956]"),
        ((0.75, 0.75, 0.75), "0.75 [0.75, 0.75]"),
    ],
)
def test_decimals_follow_the_interval(interval: tuple[float, float, float], text: str) -> None:
    estimate, low, high = interval
    assert with_interval(Interval(estimate=estimate, low=low, high=high)) == text


def lognormal(estimate: float, sigma: float) -> Interval:
    ends = (estimate * math.exp(sign * 1.96 * sigma) for sign in (-1, 1))
    low, high = ends
    return Interval(estimate=estimate, low=low, high=high)


@given(st.floats(0.01, 1), st.floats(1, 900), st.floats(0, 0.3), st.floats(0, 0.3))
def test_the_errors_of_a_quotient_of_lognormals_add_as_squares(
    a: float, b: float, of_a: float, of_b: float
) -> None:
    found = quotient(lognormal(a, of_a), lognormal(b, of_b))
    expected = lognormal(a / b, math.hypot(of_a, of_b))
    for end in ("estimate", "low", "high"):
        assert getattr(found, end) == pytest.approx(getattr(expected, end))


def test_a_quotient_of_what_may_be_nothing_may_be_nothing() -> None:
    found = quotient(Interval(estimate=0.1, low=0, high=0.2), Interval(estimate=10, low=9, high=11))
    assert found.low == 0
    assert found.estimate == pytest.approx(0.01)


def test_relative_change() -> None:
    assert relative(1_908_445, 3_012_213) == "-36.6 %"


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40),
    st.sampled_from(["", "- ", "> - ", "## ", "- **a:** "]),
)
@example("12. x", "")
@example("- x", "")
@example("# x", "- ")
@example("---", "")
@example("~~~", "> - ")
@example("[a](b)", "")
@example("![a](b) <i>", "## ")
@example("&lt; \\* `x`", "")
@example("a ##", "## ")
def test_markdown_shows_exactly_the_text(text: str, before: str) -> None:
    expected = " ".join(text.split())
    assume(expected)
    markdown = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    tokens = markdown.parse(f"{before}{escape_markdown(text)}\n")
    (inline,) = (token for token in tokens if token.type == "inline")
    children = inline.children or []
    assert {child.type for child in children} <= {"text", "text_special", *STRONG}
    shown = "".join(child.content for child in children)
    assert shown == ("a: " if "**" in before else "") + expected


@given(st.text(max_size=60))
def test_json_never_ends_its_script(text: str) -> None:
    script = script_json({"name": text})
    assert not set(script) & {"<", ">", "&"}
