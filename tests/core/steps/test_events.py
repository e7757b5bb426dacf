from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from prunebench.steps import events
from prunebench.steps.events import Batch, Epoch, counting, listening, share_done, text_of


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


def test_a_validation_is_no_training() -> None:
    train = Batch(phase="train", epoch=2, epochs=4, batch=1, batches=3)
    assert text_of(train) == "epoch 2/4, batch 1/3"
    assert share_done(train) == pytest.approx((1 + 1 / 3) / 4)
    val = train.model_copy(update={"phase": "val"})
    assert text_of(val) == "epoch 2/4, validation batch 1/3"
    assert share_done(val) == 0.5


def test_what_counts_is_never_silent_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on a second per look: after 1, 2, 4 ... seconds, then every ten."""
    monkeypatch.setattr(events, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    told: list[str] = []
    with listening(lambda event: told.append(text_of(event))):
        assert list(counting(range(40), 40, "images")) == list(range(40))
    assert told == [f"read {done} of 40 images" for done in (1, 2, 4, 8, 16, 26, 36)]
