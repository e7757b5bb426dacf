"""What the reader must know before trusting a ranking: facts, as those of ``records``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prunebench.common.records import Grounds, Interval, Record


class Restored(Record):
    """Doubt: a retraining restored the unpruned network, so the pruning is lost."""

    kind: Literal["restored"] = "restored"
    name: str


class Altered(Record):
    """Doubt: a network is neither what it was made from nor a pruned one of it."""

    kind: Literal["altered"] = "altered"
    name: str
    grounds: Grounds


class SameNetwork(Record):
    """Doubt: variants run the same operations, so their speeds cannot differ by the models."""

    kind: Literal["same_network"] = "same_network"
    names: tuple[str, ...]


class MeasuredApart(Record):
    """Doubt: two variants of one network measured apart, which the intervals do not cover.

    ``difference`` is in percent of the latency.
    """

    kind: Literal["measured_apart"] = "measured_apart"
    faster: str
    other: str
    difference: Interval


class CpuDisagrees(Record):
    """Doubt: how many times as fast as the baseline variants are depends on which time is taken."""

    kind: Literal["cpu_disagrees"] = "cpu_disagrees"
    baseline: str
    by_wall: dict[str, Interval]
    by_cpu: dict[str, Interval]


class FewFrames(Record):
    """Doubt: fewer frames were paced than a 95th percentile takes, so no limit is shown kept."""

    kind: Literal["few_frames"] = "few_frames"
    names: tuple[str, ...]
    frames: int
    needed: int


class FindsNothing(Record):
    """Doubt: the baseline's mAP50 is below ``floor``, so nothing is told by what others lose."""

    kind: Literal["finds_nothing"] = "finds_nothing"
    name: str
    map50: float
    floor: float


class FewImages(Record):
    """Doubt: too few images to declare a difference in accuracy or efficiency."""

    kind: Literal["few_images"] = "few_images"
    images: int
    needed: int


class Letterbox(Record):
    """The ``baseline`` is ``deployed`` at another (height, width) than it was ``trained`` for.

    ``control`` is the baseline at the letterbox of its training size, both in pixels.
    """

    baseline: str
    control: str
    trained: tuple[int, int]
    deployed: tuple[int, int]


class LetterboxCosts(Record):
    """Doubt: the letterbox is of another size than the baseline's training.

    Attributes:
        loss: mAP50 that the baseline loses by it, ``None`` where that was not measured.
        shown: Whether that it loses, or gains, is shown.
        limit: The allowed loss of mAP50, where the loss is shown to be over it.
        unadvised: Variants that are then not advised for accuracy first.
    """

    kind: Literal["letterbox"] = "letterbox"
    letterbox: Letterbox
    loss: Interval | None = None
    shown: bool = False
    limit: float | None = None
    unadvised: tuple[str, ...] = ()


class Confounded(Record):
    """Doubt: variants were retrained, the baseline was not, nor an unpruned network beside them."""

    kind: Literal["confounded"] = "confounded"
    names: tuple[str, ...]
    baseline: str


class RetrainingHarmed(Record):
    """Doubt: the unpruned network lost accuracy by retraining, so do not blame pruning for it."""

    kind: Literal["retraining_harmed"] = "retraining_harmed"
    name: str
    reference: str
    change: Interval


class OneTraining(Record):
    """Note: variants are one training each, so no interval holds what another seed would give."""

    kind: Literal["one_training"] = "one_training"
    names: tuple[str, ...]


Doubt = Annotated[
    LetterboxCosts
    | Restored
    | Altered
    | SameNetwork
    | MeasuredApart
    | CpuDisagrees
    | FewFrames
    | FewImages
    | FindsNothing
    | Confounded
    | RetrainingHarmed
    | OneTraining,
    Field(discriminator="kind"),
]
"""What the reader must know before trusting a ranking."""
