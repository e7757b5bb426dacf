"""What counts as the same accuracy of a promoted file."""

from __future__ import annotations

import pytest

from prunebench.operating.accuracy_check import agree


@pytest.mark.parametrize(
    ("now", "images", "metric", "same"),
    [
        (0.896, 20, "map50", True),
        (0.85, 20, "map50", False),
        # One image of 20 may be another class's on another CPU, two are none of rounding.
        (0.85, 20, "top1", True),
        (0.8, 20, "top1", False),
        (0.896, 1000, "top1", True),
        (0.89, 1000, "top1", False),
    ],
)
def test_rounding_moves_an_image_and_no_more(
    now: float, images: int, metric: str, same: bool
) -> None:
    assert agree(now, 0.9, images, metric) is same
