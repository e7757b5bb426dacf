"""The report of a run: what it says, that it is one safe file, and what it is made from."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from report_kit import CLASSES, CONTROLLED, MIXED, STOLEN, make_run, many

from prunebench.cli import app
from prunebench.common.errors import ConfigError, InputError
from prunebench.common.records import Interval, Rewriting
from prunebench.common.variant_record import Failure
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import headline, tell
from prunebench.results.outcome import RunRanking, read_outcome
from prunebench.results.ranking.records import Advice, Ranking, Use
from prunebench.results.report import figures
from prunebench.results.report.build import build_report, compose, report_markdown
from prunebench.results.report.document import Cards, Table
from prunebench.results.report.numbers import BLANK
from prunebench.results.report.per_class import class_changes
from prunebench.results.report.render import to_markdown
from prunebench.results.report.sections.strategies import strategies
from prunebench.results.report.stored import ReportedRun, read_stored_run
from prunebench.variants.rewriting.choice import Passes

SECTIONS = [
    "answer",
    "comparison",
    "changes",
    "findings",
    "realtime",
    "memory",
    "strategies",
    "structure",
    "rounds",
    "pareto",
    "guide",
    "classes",
    "training",
    "conclusions",
    "settings",
]
CROWD = 16
STOLEN_SAID = "the hypervisor took CPU time away in 3 of 16 child runs"
VOID = {"meta", "link", "wbr"}


class Page(HTMLParser):
    """A page's elements, its visible text and the figures inside."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.shown: list[str] = []
        self.figures: dict[str, dict[str, object]] = {}
        self.scripts: list[str] = []
        self._figure: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self._figure = values.get("data-figure")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
            if self._figure is not None:
                self.figures[self._figure] = json.loads(data)
        elif self.open and self.open[-1] != "style":
            self.shown.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.shown).split())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [values for name, values in self.elements if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "20260101T000000-abc"
    make_run(folder)
    return folder


@pytest.fixture(scope="module")
def outcome(run: Path) -> RunRanking:
    return read_outcome(run)


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page((run / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def markdown(run: Path) -> str:
    return (run / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def stored(run: Path) -> ReportedRun:
    return read_stored_run(run)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "20260101T000000-crowd"
    make_run(folder, many(CROWD), threads=(1,), rounds=4, frames=4)
    return folder


def section(text: str, title: str) -> str:
    """The part of a Markdown report below a heading, its escapes undone."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return re.sub(r"\\(.)", r"\1", found.group(1)).replace("&lt;", "<").replace("&gt;", ">")


def test_sections_come_in_order_and_the_answer_first(page: Page) -> None:
    ids = [values["id"] for values in page.attributes("section")]
    assert ids == SECTIONS


def test_answer_names_the_advice_of_the_ranking(
    page: Page, markdown: str, outcome: RunRanking
) -> None:
    ranking = outcome.rankings[0]
    for advice in ranking.advice:
        assert tell(advice, ranking, Messages()) in section(markdown, "Guide by use")
    verdict = headline(ranking, Messages())
    assert verdict
    assert "preserving-1" in verdict
    assert page.text.index(verdict.partition(" [")[0]) < page.text.index("Tied with")


def test_one_card_says_that_one_variant_wins_every_use(stored: ReportedRun) -> None:
    def cards(ranking: Ranking) -> list[tuple[str, str]]:
        outcome = stored.outcome.model_copy(update={"rankings": (ranking,)})
        document = compose(replace(stored, outcome=outcome), Messages())
        (found,) = (b for b in document.sections[0].blocks if isinstance(b, Cards))
        return [(card.title, card.choice) for card in found.cards]

    def advised(*names: str | None) -> Ranking:
        uses: tuple[Use, ...] = ("real-time", "balance", "accuracy")
        advice = (Advice(use=u, recommended=n, tied=()) for u, n in zip(uses, names, strict=True))
        return stored.ranking.model_copy(update={"advice": tuple(advice)})

    assert cards(advised(*["preserving-1"] * 3)) == [("Every use", "preserving-1")]
    assert cards(advised("preserving-1", "preserving-1", "baseline")) == [
        ("Real-time and balance", "preserving-1"),
        ("Accuracy", "baseline"),
    ]
    assert cards(advised(None, None, "baseline")) == [
        ("Real-time", "None shown to do"),
        ("Balance", "None shown to do"),
        ("Accuracy", "baseline"),
    ]


def test_every_variant_and_the_reason_of_the_failed_one_are_told(page: Page) -> None:
    for maker in MIXED:
        assert maker.name in page.text
    assert "failed at export: parity: boxes differ by 3.1 px <b>here</b>" in page.text


def test_ties_are_called_ties(markdown: str, outcome: RunRanking) -> None:
    ranking = outcome.rankings[0]
    pair = ranking.difference("efficiency", "standard-1", "standard-2")
    assert not pair.significant
    comparison = section(markdown, "Comparison")
    said = tell(pair, ranking, Messages())
    assert said in comparison
    assert "cannot be told apart" in said
    labels = {row.name: row.label for row in ranking.rows}
    assert labels["standard-1"] == labels["standard-2"]
    assert labels["standard-1"].endswith("=")
    assert f"| standard-1 | {labels['standard-1']} |" in comparison


def test_the_same_network_is_never_called_faster(page: Page) -> None:
    same = ("baseline", "standard-1", "standard-2")
    for a in same:
        for b in same:
            assert f"{a} is faster end to end than {b}" not in page.text
    assert "baseline, standard-1 and standard-2 are the same network" in page.text


def test_a_comparison_in_words_carries_its_interval(page: Page) -> None:
    compared = r"is (?:faster end to end|more accurate|more efficient) than "
    claims = re.findall(compared, page.text)
    with_interval = re.findall(compared + r"\S+ by [\d.]+ (?:% )?\[[\d.]+, [\d.]+\]", page.text)
    assert len(with_interval) == len(claims) > 5


def test_the_loss_of_the_pruning_is_told_by_step(markdown: str) -> None:
    story = section(markdown, "What happened to the parameters")
    first = next(line for line in story.splitlines() if line.startswith("- **standard-1:**"))
    second = next(line for line in story.splitlines() if line.startswith("- **standard-2:**"))
    kept = next(line for line in story.splitlines() if line.startswith("- **preserving-1:**"))
    assert "from 1,908,445 to 3,012,213 (+57.8 %" in first
    assert "65 of 355 tensors" in first
    assert "63 of 63 convolutions changed their width" in first
    assert "The pruning was lost in the step “retrain standard round 1”" in first
    assert "The pruning had been lost before the step “retrain standard round 2”" in second
    assert "no convolution changed its width" in kept
    assert "lost" not in kept
    assert "builds the network anew from its description" in story


def test_memory_counts_both_states(markdown: str) -> None:
    row = next(
        line for line in section(markdown, "Memory").splitlines() if line.startswith("| pruned |")
    )
    assert [cell.strip() for cell in row.strip("|").split("|")][1:7] == [
        "7.62",
        "3.82",
        "1,908,445",
        "1,904,197",
        "351",
        "-36.6 %",
    ]


def test_equally_small_files_are_named_together(markdown: str) -> None:
    assert "**Smallest file:** preserving-1 and pruned (7.62 MB)" in section(
        markdown, "Key findings"
    )


def test_a_second_round_that_is_not_shown_to_help_is_said_so(markdown: str) -> None:
    assert "is not shown" in section(markdown, "What the next round gave")


def test_pareto_names_who_beats_whom(markdown: str, outcome: RunRanking) -> None:
    table = section(markdown, "Pareto front and accuracy/speed ratio")
    ranks, beaten_by = {}, {}
    for row in outcome.rankings[0].rows:
        line = next(line for line in table.splitlines() if line.startswith(f"| {row.name} |"))
        texts = [text.strip() for text in line.strip("|").split("|")]
        ranks[row.name], beaten_by[row.name] = int(texts[4]), texts[5]
        assert (texts[5] == "—") == (row.pareto != "no"), line
    assert max(ranks.values()) > 1
    for name, rank in ranks.items():
        others = [
            ranks[other] for other in ranks if other in beaten_by[name].replace(",", "").split()
        ]
        assert rank == 1 + max(others, default=0), name


def test_conclusions_tell_the_strategies_apart(markdown: str) -> None:
    text = section(markdown, "Conclusions")
    assert "**Strategy preserving:** It kept the pruned structure in every variant (2)." in text
    assert "**Strategy standard:** It restored the unpruned network in 2 of 2 variants" in text


def test_settings_are_enough_to_repeat_the_run(markdown: str) -> None:
    text = section(markdown, "Settings and environment")
    for line in (
        "| seed | 0 |",
        "| versions.torch | 2.14.1 |",
        "| retrain.strategies.preserving.lr0 | 0.001 |",
        "| onnxruntime | 1.32.0 |",
        "| latency.threads | 1, 2 |",
    ):
        assert line in text


def test_thread_counts_have_their_own_columns(markdown: str) -> None:
    comparison = section(markdown, "Comparison")
    assert (
        "| Rank, 1 thread | FPS, 1 thread | x baseline, 1 thread | Model ms, 1 thread |"
        in comparison
    )


def test_one_file_that_loads_nothing(page: Page) -> None:
    for tag, values in page.elements:
        assert "src" not in values, tag
        assert (values.get("href") or "#").startswith(("#", "data:")), tag
    style = " ".join(page.shown)
    assert "@import" not in style
    assert "url(" not in style


def test_names_are_never_markup(page: Page) -> None:
    assert "<script>alert(1)</script>" in page.text
    assert not [script for script in page.scripts if script.startswith("alert")]
    assert page.attributes("b") == []
    assert page.attributes("i") == []
    assert not page.open


def test_markdown_names_are_never_markup(markdown: str) -> None:
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>" not in html
    assert "<td>a|b</td>" in html
    assert "car_*x*_" in html
    assert html.count("<table>") == markdown.count("\n| --- |")


def test_accessible_basics(page: Page) -> None:
    assert page.attributes("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    for before, after in itertools.pairwise(levels):
        assert after <= before + 1
    assert all(values.get("scope") in ("col", "row") for values in page.attributes("th"))
    assert len(page.attributes("caption")) == len(page.attributes("table"))
    ids = [values["id"] for _, values in page.elements if values.get("id")]
    assert len(ids) == len(set(ids))
    plots = [v for v in page.attributes("div") if v.get("class") == "plot"]
    assert all(len(plot["aria-label"] or "") > 30 for plot in plots)
    assert len(page.attributes("figcaption")) == len(plots)


def test_figures_by_thread_count(page: Page) -> None:
    assert set(page.figures) == {
        *(f"figure-accuracy-latency-{n}" for n in (1, 2)),
        *(f"figure-latency-distribution-{n}" for n in (1, 2)),
        *(f"figure-stage-times-{n}" for n in (1, 2)),
        "figure-widths",
        "figure-class-changes",
        "figure-training",
    }
    assert all("NaN" not in script for script in page.scripts if script.startswith('{"data"'))


def test_a_noisy_host_is_told_before_the_answer(tmp_path: Path) -> None:
    make_run(tmp_path / "run", threads=(1,), rounds=4, frames=4, noise=(STOLEN,))
    text = report_markdown(tmp_path / "run")
    answer = section(text, "The answer")
    assert answer.index(STOLEN_SAID) < answer.index("Real-time")
    assert "every speed below is provisional" in answer
    assert STOLEN_SAID in section(text, "Settings and environment")


def test_too_few_rounds_rank_nothing_but_still_report(tmp_path: Path) -> None:
    outcome = make_run(tmp_path / "run", threads=(1,), rounds=2, frames=4)
    assert outcome.rankings[0].rows == ()
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert "No variant could be ranked" in page.text
    assert "2 rounds were measured with 1 threads, 3 are needed" in page.text
    assert "figure-accuracy-latency-1" not in page.figures


def test_a_report_is_made_again_without_measuring(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = make_run(folder, MIXED[:3], threads=(1,), rounds=4, frames=4)
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert build_report(folder) == folder / "report.html"
    assert (folder / "report.html").read_bytes() == before
    assert report_markdown(folder, outcome) == (folder / "report.md").read_text(encoding="utf-8")
    assert not list(folder.glob(".report*"))


def test_a_report_survives_the_loss_of_curves_and_detections(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder, threads=(1,), rounds=4, frames=4)
    for path in (*folder.glob("variants/*/curves.csv"), *folder.glob("variants/*/detections.npz")):
        path.unlink()
    build_report(folder)
    page = Page((folder / "report.html").read_text())
    assert "figure-training" not in page.figures
    assert "figure-class-changes" not in page.figures


def test_an_unfinished_run_has_no_report(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder, MIXED[:1], threads=(1,), rounds=4, frames=4)
    (folder / "ranking.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        build_report(folder)
    with pytest.raises(InputError, match="not a run folder"):
        build_report(tmp_path)


def test_korean_says_the_same_with_the_same_numbers(stored: ReportedRun, markdown: str) -> None:
    korean = Messages("ko")
    text = to_markdown(compose(stored, korean), korean)
    assert "preserving-1 배포 권장" in text
    assert "구별되지 않음" in text
    assert re.findall(r"\| [\d.,]+ \[[\d., ]+\] \|", text) == re.findall(
        r"\| [\d.,]+ \[[\d., ]+\] \|", markdown
    )
    for phrase in (" is ", " are ", "cannot", "shown"):
        assert phrase not in text


def test_korean_page_says_its_language(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder, MIXED[:3], threads=(1,), rounds=4, frames=4, noise=(STOLEN,))
    build_report(folder, lang="ko")
    page = Page((folder / "report.ko.html").read_text(encoding="utf-8"))
    assert page.attributes("html")[0]["lang"] == "ko"
    assert "하위 프로세스 실행 16회 중 3회에서 하이퍼바이저가" in page.text
    assert STOLEN_SAID not in page.text


def test_advice_says_who_was_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = make_run(folder, MIXED[:3], threads=(1,), rounds=4, frames=10)
    answer = section((folder / "report.md").read_text(encoding="utf-8"), "The answer")
    lost = [row.name for row in outcome.rankings[0].rows if row.keeps_accuracy == "no"]
    assert set(lost) == {"pruned", "standard-1"}
    assert "lose more than 0.05 mAP50, against the baseline or " in answer
    assert f"retrained alike: {' and '.join(lost)}" in answer


def test_an_unknown_language_is_bad_input(run: Path) -> None:
    with pytest.raises(ConfigError, match="not available in 'xx'"):
        build_report(run, lang="xx")


def test_many_variants_stay_readable(crowd: Path) -> None:
    text = (crowd / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for maker in many(CROWD):
        assert maker.name in page.text
    assert len(text) < 6e6
    assert len(page.text) < 60_000
    scatter = page.figures["figure-accuracy-latency-1"]["data"]
    assert isinstance(scatter, list)
    points = sum(len(trace["x"]) for trace in scatter if "markers" in trace["mode"])
    assert points == CROWD


def test_class_changes_are_those_of_the_accuracy(run: Path, page: Page) -> None:
    trace = page.figures["figure-class-changes"]["data"][0]
    variants = page.figures["figure-class-changes"]["layout"]["yaxis"]["ticktext"]
    changes = dict(zip(variants, trace["z"], strict=True))
    found = {}
    for path in run.glob("variants/*/record.json"):
        record = json.loads(path.read_text())
        if record["accuracy"]:
            found[record["name"]] = record["accuracy"]["map50"]
    assert len(trace["x"]) == len(CLASSES)
    for name, row in changes.items():
        assert np.mean(row) == pytest.approx(found[name] - found["baseline"], abs=1e-9)


NAMESAKES = (
    "",
    ".",
    "-",
    ".",
    "a name too long for a column, 1",
    "a name too long for a column, 2",
)


@pytest.mark.parametrize("names", [NAMESAKES, (*NAMESAKES, *map(str, range(20)))])
def test_classes_are_told_apart_by_id_and_every_shown_change_has_its_star(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr("report_kit.CLASSES", names)
    # Of a class in ten images nothing is shown among eighty comparisons.
    monkeypatch.setattr("report_kit.IMAGES", 10 * len(names))
    folder = tmp_path / "run"
    make_run(folder, MIXED[:4], threads=(1,), rounds=4, frames=4)
    changes = class_changes(read_stored_run(folder))
    figure = figures.class_changes(changes, Messages())
    assert figure is not None
    (trace,), layout = figure.spec["data"], figure.spec["layout"]
    many = len(names) > len(NAMESAKES)
    across, down = ("yaxis", "xaxis") if many else ("xaxis", "yaxis")
    told = layout[across]["ticktext"]
    assert told[:4] == ["#0", ". #1", "-", ". #3"]
    assert len(layout[down]["ticktext"]) == 3
    assert np.shape(trace["z"]) == ((len(names), 3) if many else (3, len(names)))
    assert len(set(trace["x"])) == len(trace["x"])
    assert len(set(trace["y"])) == len(trace["y"])
    texts = np.array(trace["text"]).T if many else np.array(trace["text"])
    shown = np.reshape([change.shown for change in changes], (3, len(names)))
    assert shown.any()
    assert not shown.all()
    assert (np.char.find(texts, "*") >= 0).tolist() == shown.tolist()
    assert (np.char.str_len(texts[~shown]) == 0).all() == many


def test_what_a_variant_loses_in_single_classes_speaks_against_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tolerant = {"max_map50_loss": 0.9}
    make_run(folder, MIXED[:2], threads=(1,), limits=tolerant)
    row = read_outcome(folder).rankings[0].row("pruned")
    worst = row.class_losses[0]
    said = f"{worst.name} from {worst.before:.3f} to {worst.after:.3f}"
    text = report_markdown(folder).replace("\\", "")
    against = [line for line in text.splitlines() if line.startswith("- **Against it:**")]
    told = [line for line in against if "single classes" in line]
    assert len(told) == 2, "the card and the guide"
    for line in told:
        assert "AP50 of single classes is shown to be lower than that of baseline:" in line
        assert said in line
    assert f"{worst.name}: {worst.before:.3f} → {worst.after:.3f}" in report_markdown(
        folder, lang="ko"
    ).replace("\\", "")


def test_a_variant_that_loses_too_much_in_a_class_is_left_out_with_its_class(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    limits = {"max_map50_loss": 0.9, "max_class_loss": 0.05}
    make_run(folder, MIXED[:2], threads=(1,), rounds=4, frames=4, limits=limits)
    ranking = read_outcome(folder).rankings[0]
    assert ranking.row("pruned").keeps_accuracy == "no"
    assert "pruned" not in {advice.recommended for advice in ranking.advice}
    text = report_markdown(folder).replace("\\", "")
    over = next(c for c in ranking.row("pruned").class_losses if c.over_limit)
    left_out = "because they are shown to lose more than 0.05 AP50 in a class: pruned (in "
    assert f"Left out, {left_out}{over.name} from {over.before:.3f} to {over.after:.3f} (" in text
    assert "lose more than 0.9 mAP50 against the baseline" not in text


def test_where_no_pruned_variant_was_measured_nothing_is_said_of_pruning(tmp_path: Path) -> None:
    failed = replace(MIXED[1], failure=Failure(step="make, seed 0", reason="no memory"))
    folder = tmp_path / "run"
    make_run(folder, (CONTROLLED[0], CONTROLLED[2], failed), threads=(1,), controls=("int8",))
    text = report_markdown(folder)
    assert "No pruned variant was measured, so whether pruning pays is not known." in text
    assert "It failed at make, seed 0: no memory." in text
    text = report_markdown(folder, lang="ko")
    assert "만들기(시드 0) 단계에서 실패했습니다: no memory." in text


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", "not shown to stay within 90 MB of memory: baseline."),
        ("ko", "메모리 90 MB 이내임이 입증되지 않아 제외: baseline."),
    ],
)
def test_what_takes_too_much_memory_is_left_out(tmp_path: Path, lang: str, said: str) -> None:
    folder = tmp_path / "run"
    good = (MIXED[0], replace(MIXED[1], found=0.85))
    make_run(folder, good, threads=(1,), frames=200, limits={"max_rss_mb": 90})
    ranking = read_outcome(folder).rankings[0]
    assert {advice.recommended for advice in ranking.advice} == {"pruned"}
    text, m = report_markdown(folder, lang=lang).replace("\\", ""), Messages(lang)
    assert m("column.keeps_memory", limit="90") in text
    assert m("conclusions.memory", limit="90") in text
    assert said in text


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", "baseline-int8, which costs no pruning, beats it"),
        ("ko", "프루닝이 필요 없는 baseline-int8이(가) 더 나음이 입증됨."),
    ],
)
def test_a_control_that_beats_a_pruned_variant_is_named(
    tmp_path: Path, lang: str, said: str
) -> None:
    folder = tmp_path / "run"
    make_run(folder, CONTROLLED, threads=(1,), controls=("int8",), limits={"max_map50_loss": 0.5})
    text = report_markdown(folder, lang=lang)
    assert Messages(lang)("controls.title") in text
    assert said in text.replace("\\", "")
    (row,) = (r for r in read_outcome(folder).rankings[0].rows if r.name == "baseline-int8")
    assert Messages(lang)("verdict.control", verdict=Messages(lang)("verdict.unpruned")) in text
    assert row.control == "int8"


def test_the_command_writes_another_language_beside_the_english_report(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    english = (run / "report.html").read_bytes()
    app(["report", str(run), "--lang", "ko"], standalone_mode=False)
    assert capsys.readouterr().out.strip() == str(run / "report.ko.html")
    assert Page((run / "report.ko.html").read_text("utf-8")).attributes("html")[0]["lang"] == "ko"
    assert (run / "report.ko.md").is_file()
    assert (run / "report.html").read_bytes() == english


def test_figures_into_files_need_a_browser(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"needs Chromium or Chrome.*camera button"):
        build_report(run, figures=True)


def test_what_strategies_were_trained_with_is_listed_what_differs_first(
    stored: ReportedRun,
) -> None:
    used = {
        "standard": {"lr0": 0.01, "mixup": 0.1, "box": 6.0},
        "preserving": {"lr0": 0.001, "mixup": 0.2, "box": 6.0, "mosaic": 0.5},
    }
    variants = tuple(
        variant.model_copy(
            update={
                "training": variant.training.model_copy(
                    update={"arguments": used[variant.training.strategy]}
                )
            }
        )
        if variant.training is not None and variant.training.strategy in used
        else variant
        for variant in stored.variants
    )
    section = strategies(replace(stored, variants=variants), Messages())
    assert section is not None
    table = section.blocks[-1]
    assert isinstance(table, Table)
    rows = [[cell.text for cell in row] for row in table.rows]
    keys = [row[0] for row in rows]
    assert ["mixup", "0.1", "0.2"] in rows
    assert ["mosaic", BLANK, "0.5"] in rows
    assert ["box", "6.0", "6.0"] in rows
    assert max(map(keys.index, ("lr0", "mixup", "mosaic"))) < keys.index("box")
    assert "args" not in keys


def test_the_report_says_how_exported_graphs_were_rewritten(run: Path) -> None:
    stored = read_stored_run(run)
    plain = to_markdown(compose(stored, Messages()), Messages())
    first = stored.variants[0]
    assert first.exported is not None
    done = {"distribution": 1, "halves": 8, "upsampling": 0}
    exported = first.exported.model_copy(
        update={"rewriting": Rewriting(done=done, unknown=dict.fromkeys(done, 0))}
    )
    variants = (first.model_copy(update={"exported": exported}), *stored.variants[1:])
    gain = {"upsampling": Interval(0.9, 0.8, 0.97)}
    outcome = stored.outcome.model_copy(update={"passes": Passes(imgsz=(96, 160), faster=gain)})
    rewritten = replace(stored, variants=variants, outcome=outcome)
    told = to_markdown(compose(rewritten, Messages()), Messages()).replace("\\", "")
    assert "in baseline: distributions of box sides (1) and split convolutions (8)." in told
    assert "convolutions of upsampled images 0.90 [0.80, 0.97]." in told
    assert "rewritten" not in plain
