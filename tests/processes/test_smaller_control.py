"""The control that is trained: a smaller stock network, made by the steps a flow runs."""

from __future__ import annotations

from pathlib import Path

from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.experiment.make import make_variant
from prunebench.experiment.plan import plan_variants
from prunebench.experiment.prepare import prepare
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_variant
from tests.conftest import tiny_values

EPOCHS = 2


def test_the_smaller_network_has_the_macs_and_the_budget(tmp_path: Path) -> None:
    values = tiny_values(
        tmp_path / "runs",
        # Its training is short, unlike that of the shipped checkpoint.
        model="yolov8n.yaml",
        image={"height": 64, "width": 64},
        baseline={"epochs": EPOCHS, "imgsz": 64, "batch": 8},
        retrain={"strategies": {}},
        controls=["smaller"],
    )
    config = parse_config(values)
    experiment = prepare(config)
    made: dict[str, VariantRecord] = {}
    for planned in plan_variants(config):
        parent = made.get(planned.parent or "")
        made[planned.name] = make_variant(
            experiment, planned, parent, made.get("baseline"), lambda event: None
        )
    smaller, pruned = made["smaller"], made["pruned"]
    assert smaller.audit is not None
    assert pruned.audit is not None
    assert smaller.audit.verdict == "unpruned"
    assert smaller.audit.structure.macs <= pruned.audit.structure.macs
    assert smaller.training is not None
    assert smaller.training.epochs == EPOCHS + 1
    assert f"the baseline's {EPOCHS} epochs and 1 of retraining" in tell_variant(
        smaller, Messages()
    )
