"""Make a run's report from what the run keeps; nothing is measured again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.common.files import write_atomically
from prunebench.results.messages.catalogue import ENGLISH, Messages
from prunebench.results.report.cards import cards
from prunebench.results.report.document import Document, Section, section
from prunebench.results.report.figure_files import require_browser, write_figures
from prunebench.results.report.render import to_html, to_markdown
from prunebench.results.report.sections.answer import answer, guide
from prunebench.results.report.sections.changes import changes
from prunebench.results.report.sections.classes import classes
from prunebench.results.report.sections.conclusions import conclusions, findings
from prunebench.results.report.sections.controls import controls
from prunebench.results.report.sections.devices import devices
from prunebench.results.report.sections.diagnosis import diagnosis
from prunebench.results.report.sections.gallery import gallery
from prunebench.results.report.sections.history import history
from prunebench.results.report.sections.runtimes import runtimes
from prunebench.results.report.sections.settings import settings
from prunebench.results.report.sections.strategies import rounds, strategies
from prunebench.results.report.sections.structure import structure, training
from prunebench.results.report.sections.tables import comparison, memory, pareto, real_time
from prunebench.results.report.sections.trainings import trainings
from prunebench.results.report.stored import ReportedRun, read_stored_run
from prunebench.results.run_folder import fitting_together

if TYPE_CHECKING:
    from prunebench.results.outcome import RunRanking

REPORT_HTML = "report.html"


def build_report(
    folder: Path,
    outcome: RunRanking | None = None,
    *,
    lang: str = ENGLISH,
    figures: bool = False,
) -> Path:
    """Write ``report.html`` and ``report.md`` into a run's folder, and a card beside every model.

    Args:
        folder: The run's folder.
        outcome: Its rankings; ``None``: read from the folder.
        lang: Language of the report; another than English is named in the files ("report.ko.html").
        figures: Also draw each figure into the folder ``figures``, as SVG and PNG.

    Returns:
        The HTML file.

    Raises:
        InputError: The run is not finished, something in it cannot be read, there is no report in
            that language, or figures are asked for where no browser can draw them.
    """
    Messages(lang)
    if figures:
        require_browser()
    with fitting_together(folder):
        run = read_stored_run(folder, outcome)
        messages = Messages(lang, run.ranking.metric)
        document = compose(run, messages)
        markdown, html = to_markdown(document, messages), to_html(document, messages)
        beside_models = cards(run)
    other = "" if lang == ENGLISH else f".{lang}"
    path = (folder / REPORT_HTML).with_suffix(f"{other}.html")
    write_atomically(path.with_suffix(".md"), markdown)
    write_atomically(path, html)
    for file, text in beside_models.items():
        write_atomically(file, text)
    if figures:
        write_figures(document, folder / f"figures{other}")
    return path


def report_markdown(folder: Path, outcome: RunRanking | None = None, lang: str = ENGLISH) -> str:
    """The report as Markdown, nothing is written.

    Raises:
        InputError: As ``build_report``.
    """
    run = read_stored_run(folder, outcome)
    messages = Messages(lang, run.ranking.metric)
    return to_markdown(compose(run, messages), messages)


def compose(run: ReportedRun, m: Messages) -> Document:
    """The report's sections in order, the answer first."""
    sections: tuple[Section | None, ...] = (
        answer(run, m),
        comparison(run, m),
        changes(run, m),
        findings(run, m),
        controls(run, m),
        runtimes(run, m),
        real_time(run, m),
        memory(run, m),
        strategies(run, m),
        trainings(run, m),
        structure(run, m),
        diagnosis(run, m),
        rounds(run, m),
        pareto(run, m),
        guide(run, m),
        classes(run, m),
        gallery(run, m),
        training(run, m),
        devices(run, m),
        history(run, m),
        conclusions(run, m),
        settings(run, m),
    )
    return Document(
        lang=m.lang,
        title=m("title", name=run.config.name),
        subtitle=m("subtitle", run=run.outcome.run, model=run.config.model, data=run.config.data),
        sections=(
            *_what_is_missing(run, m),
            *(section for section in sections if section is not None),
        ),
    )


def _what_is_missing(run: ReportedRun, m: Messages) -> Iterator[Section]:
    """Before all else, what this report could not be made from."""
    if run.missing:
        yield section("missing", m, m("missing.text", files=m.listed(run.missing)))
