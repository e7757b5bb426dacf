"""What 95 % intervals cover, in short: ``benchmarks/coverage.py`` with few repetitions."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "coverage.py"
# 40 repetitions of 15 pairs that share variants, or 100 of one: two standard errors below 95 %.
LEAST = 0.90


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("host", ["drift", "bursts", "regimes"])
def test_ratios_of_latency_after_the_stopping_rule(coverage: ModuleType, host: str) -> None:
    rng = np.random.default_rng(3)
    covered, _, rounds = coverage.latency_coverage(coverage.HOSTS[host], None, 40, rng)
    assert covered >= LEAST
    assert 8 < rounds < 40


def test_ratios_of_latency_after_eight_rounds(coverage: ModuleType) -> None:
    covered, *_ = coverage.latency_coverage(coverage.drift, 8, 40, np.random.default_rng(4))
    assert covered >= LEAST


def test_map50_and_its_differences_where_classes_are_rare(coverage: ModuleType) -> None:
    truth = coverage.true_aps(samples=2)
    found = coverage.map_coverage(truth, 50, 100, np.random.default_rng(5))
    for _, covered, _, _, off_the_middle in found:
        assert covered >= LEAST
        assert off_the_middle < 0.05
