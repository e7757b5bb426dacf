"""The loss of a network that learns another's predictions beside the labels.

A pruned network keeps the anchors, classes and bins of the one it was made from, so their heads'
outputs are compared place by place and nothing has to be learnt in between. Scores: cross entropy
with the teacher's probabilities (Hinton et al., Distilling the Knowledge in a Neural Network, 2015,
at temperature 1). Boxes: Kullback-Leibler divergence of the distributions over distances (Zheng et
al., Localization Distillation for Dense Object Detection, 2022), or the difference of distances
where a head has no distributions; both where the teacher sees something. Each has the gain of its
sibling among Ultralytics' losses, and is divided by what the teacher sees as those are by targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional


@dataclass
class Taught:
    """A criterion of Ultralytics' with the teacher's part added.

    Attributes:
        criterion: The network's own.
        teacher: Network with the same head, in evaluation mode.
        gains: Of scores and of boxes.
        weight: Factor of the teacher's part.
    """

    criterion: Any
    teacher: Any
    gains: tuple[float, float]
    weight: float

    def update(self) -> None:
        """Once per epoch: what an end-to-end head's own criterion wants to know."""
        if hasattr(self.criterion, "update"):
            self.criterion.update()

    def __call__(
        self, predictions: Any, batch: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Losses times the batch size, (n,), and each loss by its name."""
        losses, named = self.criterion(predictions, batch)
        with torch.no_grad():
            _, taught = self.teacher(batch["img"])
        loss = self.weight * difference(predictions, taught, self.gains)
        # The loss of a classification is a mean, not times the batch size.
        times = len(batch["img"]) if losses.ndim else 1
        return (
            torch.cat([losses.reshape(-1), loss[None] * times]),
            {**named, "teacher_loss": loss.detach()},
        )


def difference(predictions: Any, taught: Any, gains: tuple[float, float]) -> torch.Tensor:
    """How far a head's raw outputs are from the teacher's, for an image; 0 gradient where equal.

    Of the heads of an end-to-end network, the mean. Of a classification it is the divergence of its
    probabilities, without gains.
    """
    if isinstance(taught, torch.Tensor):
        logits = predictions[1] if isinstance(predictions, tuple) else predictions
        ours, theirs = (each.float().log_softmax(1) for each in (logits, taught))
        return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    if "one2many" in predictions:
        heads = [difference(predictions[of], taught[of], gains) for of in predictions]
        return torch.stack(heads).mean()
    scores, known = predictions["scores"].float(), taught["scores"].float().sigmoid()
    of_scores = functional.binary_cross_entropy_with_logits(scores, known, reduction="none")
    seen = known.amax(1)  # (images, anchors)
    boxes, others = (
        each["boxes"].float().unflatten(1, (4, -1)) for each in (predictions, taught)
    )  # (images, sides, bins, anchors)
    if boxes.shape[2] > 1:
        of_boxes = functional.kl_div(
            boxes.log_softmax(2), others.log_softmax(2), reduction="none", log_target=True
        ).sum(2)
    else:
        of_boxes = (boxes - others).abs()[:, :, 0]
    of_both = gains[0] * of_scores.sum() + gains[1] * (of_boxes.mean(1) * seen).sum()
    mean: torch.Tensor = of_both / seen.sum().clamp(min=1)
    return mean
