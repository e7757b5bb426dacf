"""Each disturbance is found in samples that show it, and a quiet host gives none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from latency_kit import quiet_rounds

from prunebench.measuring.latency import noise
from prunebench.measuring.latency.noise import load_before_start, noise_findings, sentinel_report
from prunebench.measuring.latency.raw import SENTINEL, Sample
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise


def _with(samples: list[Sample], rounds: set[int], **changes: object) -> list[Sample]:
    return [replace(s, **changes) if s.round in rounds else s for s in samples]


def test_a_quiet_host_gives_no_finding() -> None:
    assert noise_findings(quiet_rounds(), 2) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steal_share": 0.08}, "the hypervisor took CPU time away in 4 of 16 child runs"),
        ({"model_cpu_s": 0.3}, "kept from running in 4 of 16 child runs (worst 40.0%"),
        ({"other_cores": 1.0}, "other processes kept CPUs busy in 4 of 16 child runs (worst 50%"),
    ],
)
def test_a_disturbance_in_two_rounds_is_told(changes: dict[str, object], said: str) -> None:
    (finding,) = noise_findings(_with(quiet_rounds(), {2, 5}, **changes), 2)
    assert said in tell_noise(finding, Messages())


def test_a_throttled_host_and_a_thread_that_changed_its_class_of_cores_are_told() -> None:
    throttled = _with(quiet_rounds(), {2, 5}, turns_throttled=3)
    (finding,) = noise_findings(throttled, 2)
    assert tell_noise(finding, Messages()) == "the CPU was throttled in 4 of 16 child runs"
    classes = {"big": (2, 3), "little": (0, 1)}
    moved = _with(_with(quiet_rounds(), set(range(8)), cpus=(0, 1)), {2, 5}, cpus=(1, 2))
    assert noise_findings(moved, 4) == []
    (finding,) = noise_findings(moved, 4, classes)
    assert "between big and little cores in 4 of 16 child runs" in tell_noise(finding, Messages())
    # Two threads may be on two classes.
    assert noise_findings([replace(s, threads=2) for s in moved], 4, classes) == []


def test_a_single_bad_run_is_not() -> None:
    samples = quiet_rounds()
    samples[3] = replace(samples[3], steal_share=0.5, model_cpu_s=0.1)
    assert noise_findings(samples, 2) == []


def test_more_threads_than_cpu_time_is_no_finding() -> None:
    samples = [replace(s, threads=2) for s in quiet_rounds()]
    assert noise_findings(_with(samples, set(range(8)), model_cpu_s=0.3), 2) == []


def _sentinel_at(factors: list[float]) -> list[Sample]:
    return [
        replace(s, model_ms=(3.0 * factors[s.round],) * 9) if s.variant == SENTINEL else s
        for s in quiet_rounds(len(factors))
    ]


def test_an_unsteady_sentinel_is_told() -> None:
    (finding,) = noise_findings(_sentinel_at([1, 1, 1.4, 1, 1.4, 1, 1, 1]), 2)
    assert "off its median in 2 of 8 rounds (worst +40.0%" in tell_noise(finding, Messages())


def test_a_drifting_sentinel_is_told() -> None:
    samples = _sentinel_at([1, 1, 1, 1.03, 1.03, 1.03, 1.06, 1.06, 1.06])
    (finding,) = noise_findings(samples, 2)
    assert "became 6.0% slower from the first third of the rounds" in tell_noise(
        finding, Messages()
    )
    report = sentinel_report(samples)
    assert report is not None
    assert (report.rounds, report.rounds_off) == (9, 0)
    assert report.median_ms == pytest.approx(3.09)
    assert report.drift == pytest.approx(0.06)
    assert sentinel_report(samples[:4]) is None


def test_load_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "busy_share", lambda seconds: 0.52)
    (finding,) = load_before_start()
    assert "kept 52% of all CPUs busy just before the start" in tell_noise(finding, Messages())
    monkeypatch.setattr(noise, "busy_share", lambda seconds: 0.04)
    assert load_before_start() == []
