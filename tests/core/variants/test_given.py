"""A model is judged in one place, so every command says the same of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_kit import checkpoint, good_data
from pruning_kit import HW, prune_uniformly, tiny_network

from prunebench.common.errors import ConfigError
from prunebench.config.targets import parse_goal
from prunebench.experiment.first_config import first_config
from prunebench.variants.audit import audit_file
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.given import Request, check_sides, run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return good_data(tmp_path_factory.mktemp("scenes"))


@pytest.mark.parametrize(
    ("description", "pruned", "verdict", "stride"),
    [
        ("yolov8n", False, "unpruned", 32),
        ("yolov8n", True, "pruned", 32),
        ("yolov8n-p6", False, "unpruned", 64),
        ("yolov8n-p6", True, "pruned", 64),
        ("yolov8n-ghost", True, "pruned", 32),
    ],
)
def test_init_audit_and_run_judge_alike(
    data: Path, tmp_path: Path, description: str, pruned: bool, verdict: str, stride: int
) -> None:
    network, path = tiny_network(description), tmp_path / "model.pt"
    if pruned:
        prune_uniformly(network, ratio=0.3, round_to=None)
    save_checkpoint(network, path, {"step": "prune"} if pruned else {})
    by_run = run(Request(model=str(path)), tmp_path, lambda event: None)
    assert by_run.audit == audit_file(path).audit
    assert (by_run.audit.verdict, by_run.info.stride) == (verdict, stride)
    written = first_config(str(path), str(data), file="mine.yaml", cache_dir=tmp_path)
    assert f"detect, 7 classes; {verdict}, " in written
    assert f"multiples of {stride}: " in written


def test_a_network_that_is_described_is_opened_too() -> None:
    found = run(Request(model="yolov8n-seg.yaml", hw=HW), Path(), lambda event: None)
    assert (found.info.task, found.info.stride, len(found.info.names)) == ("segment", 32, 80)
    assert found.audit.structure.stock == "yolov8n-seg, 80 classes"


def test_a_description_of_the_users_own_is_read_as_it_is(tmp_path: Path) -> None:
    """Ultralytics would take its own yolov8.yaml for the first, and rename the second."""
    from ultralytics.utils import ROOT

    text = (Path(ROOT) / "cfg/models/v8/yolov8.yaml").read_text(encoding="utf-8")
    for name in ("yolov8n.yaml", "yolov5nu.yaml"):
        (tmp_path / name).write_text(text.replace("nc: 80", "nc: 3"), encoding="utf-8")
        found = run(Request(model=str(tmp_path / name), hw=HW), tmp_path, lambda event: None)
        assert len(found.info.names) == 3


def test_what_is_asked_has_to_fit(tmp_path: Path) -> None:
    path = checkpoint()(tmp_path)
    for goal in ("10 parameters", "1 macs"):
        request = Request(model=str(path), hw=HW, goals=(parse_goal(goal),), round_to=8)
        with pytest.raises(ConfigError, match="is beyond the narrowest network"):
            run(request, tmp_path, lambda event: None)
    with pytest.raises(ConfigError, match=r"a: 96 is not a multiple of 64, the nearest is 128"):
        check_sides(64, {"b": 128, "a": 96})
