from __future__ import annotations

from typing import Any

import pytest

from prunebench.steps.events import Epoch, text_of


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (
            {"loss": 3.14159, "map50": 0.5, "seconds_left": 12.4},
            "epoch 2/5, loss 3.14, mAP50 0.500, 12 s left",
        ),
        ({"loss": None, "map50": 0.5, "seconds_left": 0.0}, "epoch 2/5, mAP50 0.500, 0 s left"),
        ({"loss": None, "map50": None, "seconds_left": None}, "epoch 2/5"),
    ],
)
def test_a_text_of_is_told_with_what_is_known(known: dict[str, Any], text: str) -> None:
    assert text_of(Epoch(epoch=2, epochs=5, **known)) == text
