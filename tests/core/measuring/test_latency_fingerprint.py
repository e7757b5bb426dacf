"""The host's fingerprint."""

from __future__ import annotations

import os
from dataclasses import replace

import onnxruntime
import pytest

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import (
    fingerprint,
    int8_obstacle,
    training_precision,
)
from prunebench.measuring.session import SessionSettings

SESSION = SessionSettings.of(LatencyConfig())


def test_it_is_stable_and_says_what_it_should() -> None:
    one, two = fingerprint(SESSION), fingerprint(SESSION)
    assert one == two
    assert one.digest() == two.digest()
    assert one.onnxruntime == onnxruntime.__version__
    assert 1 <= one.physical_cores <= one.logical_cores <= (os.cpu_count() or 1)
    assert one.differences(two) == []


def test_session_options_are_part_of_it() -> None:
    plain, spinning = fingerprint(SESSION), fingerprint(replace(SESSION, spinning=True))
    assert plain.digest() != spinning.digest()
    (difference,) = plain.differences(spinning)
    assert difference.startswith("session: ")


def test_another_library_version_is_named() -> None:
    old = fingerprint(SESSION)
    new = replace(old, onnxruntime="9.9.9")
    assert old.differences(new) == [f"onnxruntime: {old.onnxruntime} -> 9.9.9"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"avx2", "avx512f", "avx512_vnni"}, None),
        ({"avx2", "avx_vnni"}, None),
        ({"avx2", "avx512f"}, "This CPU has no VNNI: INT8 will not pay here."),
        ({"asimd", "asimddp"}, None),
        ({"asimd"}, "This CPU has no INT8 dot product (asimddp): INT8 will not pay here."),
        (set(), "The extensions of this CPU are not readable: measure whether INT8 pays here."),
    ],
)
def test_int8_pays_where_integers_have_a_dot_product(flags: set[str], said: str | None) -> None:
    assert int8_obstacle(frozenset(flags)) == said


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ({"avx512f", "avx512_bf16"}, "bfloat16"),
        ({"amx_tile", "amx_bf16"}, "bfloat16"),
        ({"asimd", "bf16"}, "bfloat16"),
        ({"asimd", "sve"}, "float32"),
        ({"avx2", "avx512f", "avx512_vnni"}, "float32"),
        (set(), "float32"),
    ],
)
def test_trainings_multiply_in_bfloat16_where_the_cpu_does(flags: set[str], precision: str) -> None:
    assert training_precision(frozenset(flags)) == precision
