"""Why a run's pruned variants are as fast as they are, in sentences and in the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from report_kit import MIXED, make_run

from prunebench.common.errors import InputError, StepError
from prunebench.common.files import write_atomically
from prunebench.config.sections import LatencyConfig
from prunebench.experiment import diagnose
from prunebench.measuring.profile import Cause, Diagnosis, NetworkProfile, OffBlock
from prunebench.results.diagnoses import DIAGNOSES_FILE, Diagnoses, read_diagnoses
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_explanation
from prunebench.results.report.build import build_report
from prunebench.results.run_folder import LATENCY_FOLDER

SLOW = OffBlock(off=61, convolutions=63, block=16)
SAID = "61 of 63 convolutions have widths that are no multiple of 16: set prune.round_to to 16."


def profile(**changes: object) -> NetworkProfile:
    values: dict[str, object] = {
        "convolutions": 63,
        "blocked": 62,
        "quantized": 0,
        "reorders": 4,
        "off_block": {},
        "weights": 1_900_000,
        "denormal_weights": 0,
        "mmacs": 100.0,
        "kernel_ms": 5.0,
        "time_shares": {"Conv": 0.8, "Sigmoid": 0.1, "Concat": 0.06, "Mul": 0.04},
    }
    return NetworkProfile.model_validate({**values, **changes})


def diagnosis(times: float, *causes: Cause) -> Diagnosis:
    return Diagnosis(
        block=16,
        threads=1,
        variant=profile(),
        baseline=profile(mmacs=160.0),
        times_baseline=times,
        causes=causes,
    )


def test_what_is_off_is_said_of_each_and_what_is_sound_of_all() -> None:
    diagnoses = Diagnoses(
        found={
            "odd": diagnosis(1.6, SLOW),
            "slow": diagnosis(1.5),
            "one": diagnosis(0.98),
            "two": diagnosis(1.04),
        },
        failures={"broken": "it has two inputs"},
    )
    odd, slow, sound, broken = (tell_explanation(e, Messages()) for e in diagnoses.explanations())
    assert odd == f"odd: {SAID}"
    assert slow.startswith("slow: an arithmetic operation takes 1.50 times as long")
    assert sound.startswith("Nothing is off with one and two:")
    assert "0.98 to 1.04 times" in sound
    assert broken == "broken was not diagnosed: it has two inputs"


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", SAID),
        (
            "ko",
            "합성곱 63개 중 61개의 폭이 16의 배수가 아닙니다. "
            "prune.round_to를 16(으)로 설정하세요.",
        ),
    ],
)
def test_the_report_shows_the_profiles(tmp_path: Path, lang: str, said: str) -> None:
    folder = tmp_path / "run"
    baseline, pruned = MIXED[:2]
    slow = replace(pruned, ms=baseline.ms)
    outcome = make_run(folder, (baseline, slow, replace(pruned, name="fast")), rounds=8)
    before = build_report(folder, outcome, lang=lang)
    assert said not in before.with_suffix(".md").read_text()
    found = {"pruned": diagnosis(1.6, SLOW), "fast": diagnosis(1.6)}
    diagnoses = Diagnoses(found=found, failures={})
    write_atomically(folder / LATENCY_FOLDER / DIAGNOSES_FILE, diagnoses.model_dump_json())
    page = build_report(folder, outcome, lang=lang)
    text = page.with_suffix(".md").read_text()
    assert said in page.read_text()
    assert said in text
    assert text.count("Conv 80%, Sigmoid 10%, Concat 6%") == 2, "the slow one and the baseline"
    assert "1.60" in text


def variant(name: str, parent: str | None, verdict: str) -> Any:
    return SimpleNamespace(
        name=name,
        parent=parent,
        exported=SimpleNamespace(onnx=SimpleNamespace(path=f"{name}.onnx")),
        failure=None,
        quantization=None,
        audit=SimpleNamespace(verdict=verdict),
    )


def test_a_block_that_cannot_be_measured_costs_the_diagnoses_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[LatencyConfig] = []

    def fails(settings: LatencyConfig) -> None:
        asked.append(settings)
        raise StepError("block", "no space left")

    monkeypatch.setattr(diagnose, "measure_block", fails)
    (tmp_path / LATENCY_FOLDER).mkdir()
    given: tuple[Any, Any] = (
        SimpleNamespace(run_folder=tmp_path),
        SimpleNamespace(settings=LatencyConfig()),
    )

    def diagnosed(*variants: Any) -> Diagnoses:
        return diagnose.diagnose_variants(given[0], variants, given[1], lambda event: None)

    baseline = variant("baseline", None, "unpruned")
    assert diagnosed(baseline, variant("standard-1", "baseline", "restored")) == Diagnoses(
        found={}, failures={}
    )
    assert diagnosed(variant("pruned", "baseline", "pruned")).failures == {}
    assert not asked
    found = diagnosed(baseline, variant("pruned", "baseline", "pruned"))
    assert found.failures == {"pruned": "block failed: no space left"}
    assert read_diagnoses(tmp_path) == found


def test_damaged_diagnoses_are_bad_input(tmp_path: Path) -> None:
    assert read_diagnoses(tmp_path) is None
    (tmp_path / LATENCY_FOLDER).mkdir()
    (tmp_path / LATENCY_FOLDER / DIAGNOSES_FILE).write_text("{")
    with pytest.raises(InputError, match=DIAGNOSES_FILE):
        read_diagnoses(tmp_path)
