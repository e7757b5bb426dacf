"""Signed or unsigned, the first layer on integers or not: what is faster by what matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from prunebench.common.records import Activations, Integers, Interval
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host import remembered
from prunebench.measuring.host.fingerprint import fingerprint
from prunebench.measuring.onnx_graph import integer_convolutions
from prunebench.measuring.remote.there import There
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_integers
from prunebench.variants.int8.on_device import (
    Measured,
    Request,
    decided,
    integers_of,
    integers_on,
    rows,
)


@pytest.mark.parametrize(
    ("s8", "narrow", "integers"),
    [
        (0.8, 0.8, Integers(activations="s8", narrow=True)),
        (1.2, 1.2, Integers(activations="u8", narrow=False)),
        (1.0, 0.9, Integers(activations="u8", narrow=True)),
        # Faster, but not by what matters.
        (0.995, 0.995, Integers(activations="u8", narrow=False)),
    ],
)
def test_the_faster_is_taken_where_it_is_shown_to_be(
    s8: float, narrow: float, integers: Integers
) -> None:
    """Turns by a formula: a time, a share of it for what is asked, and a little noise."""
    noise = np.random.default_rng(0).normal(1, 0.001, (6, 20))
    cost = {"u8": 1.0, "u8 narrow": narrow, "u8 float": 1.0}
    cost |= {"s8": s8, "s8 narrow": s8 * narrow, "s8 float": s8}
    turns = {n: list(100 * c * row) for (n, c), row in zip(cost.items(), noise, strict=True)}
    found = decided(turns)
    assert found.integers == integers
    assert found.signed_faster.estimate == pytest.approx(1 / s8, rel=0.01)
    assert found.narrow_faster.estimate == pytest.approx(1 / narrow, rel=0.01)
    told = tell_integers(found, "pi5", Messages())
    assert told.startswith("INT8 files are made for pi5: ")
    assert ("unsigned activations (" in told) == (integers.activations == "u8")
    assert ("the first layer on integers" in told) == integers.narrow
    assert "pi5" in tell_integers(found, "pi5", Messages("ko"))


def test_what_a_device_runs_fastest_is_measured_once_on_it_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another onnxruntime it is another device; another address is the same one."""
    faster = Interval(estimate=1.2, low=1.1, high=1.3)
    found = Measured(
        integers=Integers(activations="s8", narrow=True), signed_faster=faster, narrow_faster=faster
    )
    asked: list[Request] = []

    def child(step: str, request: Request, *given: object, **more: object) -> dict[str, Any]:
        asked.append(request)
        return found.model_dump(mode="json")

    monkeypatch.setattr(remembered, "run_child", child)
    monkeypatch.setattr(remembered.tempfile, "gettempdir", lambda: str(tmp_path))
    latency = LatencyConfig()
    host = fingerprint(SessionSettings.of(latency)).fields()
    for address, version, times in (("a", "1.23.0", 1), ("b", "1.23.0", 1), ("b", "1.24.0", 2)):
        there = There(name="pi5", address=f"ssh://{address}", host={**host, "onnxruntime": version})
        assert integers_on(there, latency) == found
        assert len(asked) == times


def test_rows_are_what_they_are_called() -> None:
    for name, row in rows().items():
        model = onnx.load_from_string(row)
        left = 1 if name.endswith("float") else 0
        assert len(integer_convolutions(model)) == 2 - left
        [zero] = [one for one in model.graph.initializer if one.name == "zero"]
        signed = zero.data_type == onnx.TensorProto.INT8
        assert signed == name.startswith("s8")
        session = ort.InferenceSession(row, providers=["CPUExecutionProvider"])
        shape = session.get_inputs()[0].shape
        assert shape[1] == (48 if name in ("u8", "s8") else 3)
        assert session.run(None, {"image": np.zeros(shape, np.float32)})[0].shape[1] == 48


@pytest.mark.parametrize(("flags", "activations"), [({"asimd"}, "s8"), ({"avx2"}, "u8")])
def test_without_a_measurement_the_cpu_decides(flags: set[str], activations: Activations) -> None:
    assert integers_of(frozenset(flags)) == Integers(activations=activations)
