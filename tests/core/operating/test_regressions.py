"""A regression is what two measurements show on the same host."""

from __future__ import annotations

from pathlib import Path

import pytest
from history_kit import another_run, first_run, on_another_host

from prunebench.operating.regressions import confirmed, regression_sentence, summary, suspected
from prunebench.results.history.compare import RunComparison, compare_runs
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store, default_url


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return first_run(tmp_path_factory.mktemp("runs"))


def against(template: Path, later: Path) -> RunComparison:
    with Store(default_url(template.parent)) as store:
        for run in (template, later):
            record_run(store, run)
        return compare_runs(store, template.name, later.name, across_hosts=True)


def test_what_is_slower_twice_is_a_regression(template: Path) -> None:
    first = against(template, another_run(template, "slow-1", days=1, slower=1.2))
    second = against(template, another_run(template, "slow-2", days=2, slower=1.2))
    same = against(template, another_run(template, "same", days=3))
    assert suspected(same) == ()
    assert confirmed(first, same) == ()
    assert "slower than before" in summary((first,), ())
    assert summary((same,), ()) == "no slowdown is shown"
    regressions = confirmed(first, second)
    slow = {"baseline", "pruned", "preserving-1"}
    assert {one.variant for one in regressions} == set(suspected(first)) == slow
    assert "Measured again" in regression_sentence(regressions[0])
    assert regressions[0].run == "slow-2"
    assert summary((first,), regressions[:2]) == (
        f"regression confirmed: {regressions[0].variant} and {regressions[1].variant}"
    )


def test_another_library_may_be_the_reason_another_processor_is_none(template: Path) -> None:
    slow = on_another_host(another_run(template, "upgraded", days=4, slower=1.2))
    upgraded = against(template, slow)
    (regression, *_) = confirmed(upgraded, upgraded)
    assert "What changed on the host: onnxruntime" in regression_sentence(regression)
    elsewhere = upgraded.model_copy(update={"host_differences": ("cpu: one -> another",)})
    assert suspected(elsewhere) == ()
