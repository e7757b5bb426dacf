"""Recognise the stock YOLO networks by their parameter count alone.

Only the classification branch of a YOLO head depends on the number of classes, so a stock
network's count is ``rest + branches * branch(widths, classes)``. The table holds ``rest`` in both
states; ``tests/core/test_stock_catalogue.py`` compares it with networks Ultralytics builds.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

MOST_CLASSES = 365
"""Largest class count looked for (Objects365). Each further class makes a chance hit likelier."""


@dataclass(frozen=True)
class StockNetwork:
    """A network description shipped with Ultralytics.

    Attributes:
        head_inputs: Channels of the feature maps that enter the head.
        rest: Parameters outside the classification branches, BatchNorm apart or folded.
        depthwise: Classification branches are depthwise separable (YOLO11 and later).
        branches: Classification branches while training; a second (one-to-one) one is dropped
            when BatchNorm is folded.
    """

    name: str
    head_inputs: tuple[int, int, int]
    rest: int
    rest_fused: int
    depthwise: bool = True
    branches: int = 1

    def parameters(self, classes: int, *, fused: bool = False) -> int:
        """Parameters with ``classes`` classes, BatchNorm apart or folded."""
        branch = self._classification_branch(classes, fused)
        return self.rest_fused + branch if fused else self.rest + self.branches * branch

    def _classification_branch(self, classes: int, fused: bool) -> int:
        hidden = max(self.head_inputs[0], min(classes, 100))
        # A folded convolution keeps a bias where BatchNorm had a scale and a shift.
        norm = 1 if fused else 2
        total = 0
        for inputs in self.head_inputs:
            if self.depthwise:
                convolutions = (9 + norm) * inputs + (inputs + norm) * hidden
                convolutions += (9 + norm) * hidden + (hidden + norm) * hidden
            else:
                convolutions = (9 * inputs + norm) * hidden + (9 * hidden + norm) * hidden
            total += convolutions + (hidden + 1) * classes
        return total


STOCK_NETWORKS = (
    StockNetwork("yolov8n", (64, 128, 256), 2_641_440, 2_636_624, depthwise=False),
    StockNetwork("yolov8s", (128, 256, 512), 9_659_504, 9_650_256, depthwise=False),
    StockNetwork("yolov8m", (192, 384, 576), 22_868_032, 22_852_624, depthwise=False),
    StockNetwork("yolo11n", (64, 128, 256), 2_541_072, 2_534_408),
    StockNetwork("yolo11s", (128, 256, 512), 9_248_336, 9_235_392),
    StockNetwork("yolo11m", (256, 512, 512), 19_503_120, 19_483_728),
    StockNetwork("yolo26n", (64, 128, 256), 2_406_264, 2_327_092, branches=2),
    StockNetwork("yolo26s", (128, 256, 512), 9_588_952, 9_287_772, branches=2),
    StockNetwork("yolo26m", (256, 512, 512), 20_673_112, 19_803_148, branches=2),
    StockNetwork("yolov8n-seg", (64, 128, 256), 2_894_208, 2_889_040, depthwise=False),
    StockNetwork("yolov8s-seg", (128, 256, 512), 10_314_000, 10_304_272, depthwise=False),
    StockNetwork("yolov8m-seg", (192, 384, 576), 24_251_360, 24_235_248, depthwise=False),
    StockNetwork("yolo11n-seg", (64, 128, 256), 2_793_840, 2_786_824),
    StockNetwork("yolo11s-seg", (128, 256, 512), 9_902_832, 9_889_408),
    StockNetwork("yolo11m-seg", (256, 512, 512), 21_809_328, 21_789_008),
)


@cache
def _counts() -> dict[int, list[tuple[str, int, bool]]]:
    found: dict[int, list[tuple[str, int, bool]]] = defaultdict(list)
    every = itertools.product(STOCK_NETWORKS, range(1, MOST_CLASSES + 1), (False, True))
    for network, classes, fused in every:
        count = network.parameters(classes, fused=fused)
        found[count].append((network.name, classes, fused))
    return found


def recognise(parameters: int, *, classes: int | None = None) -> str | None:
    """Name the stock network with this many parameters, BatchNorm apart or folded.

    Where ``classes`` is known, only networks with as many are named.

    Returns:
        "yolov8n, 7 classes, unpruned", with ", BatchNorm folded" where that is the state that
        was counted; several are joined by " or ". ``None`` where no stock network has the count.
    """
    matches = [m for m in _counts().get(parameters, ()) if classes is None or m[1] == classes]
    described = (
        f"{name}, {counted} {'class' if counted == 1 else 'classes'}, unpruned"
        f"{', BatchNorm folded' if fused else ''}"
        for name, counted, fused in matches
    )
    return " or ".join(described) or None
