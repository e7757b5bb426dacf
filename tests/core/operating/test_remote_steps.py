"""What another host is asked for: configured, packed without a path of this host, and unpacked."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from prunebench.common.errors import ChildFailed, ConfigError, InputError
from prunebench.config.loading import parse_config
from prunebench.config.sections import LatencyConfig
from prunebench.config.targets import Goal
from prunebench.data.dataset import SPLITS, dataset_digest, images_of, read_dataset
from prunebench.data.labels import labels_of
from prunebench.data.scenes import generate_scenes
from prunebench.measuring.session import SessionSettings
from prunebench.operating.store.datasets import archive_dataset, unpack_dataset
from prunebench.operating.store.files import FileStore
from prunebench.operating.store.remote_steps import may_run_elsewhere, pack
from prunebench.variants.export import Request as ExportRequest
from prunebench.variants.pruning.step import Request as PruneRequest
from prunebench.variants.pruning.step import Timing
from prunebench.variants.retraining.baseline import Request as BaselineRequest

DASK = {"engine": "dask", "address": "tcp://127.0.0.1:8786", "store": "file:///shared"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"address": "tcp://127.0.0.1:8786"}, "address is set but engine is local"),
        ({"engine": "dask", "store": "file:///s"}, "engine is dask: set address"),
        ({"engine": "dask", "address": "tcp://h:1"}, "take the files from a store: set store"),
        ({**DASK, "address": "h:8786"}, "address: "),
        ({**DASK, "engine": "ray"}, "engine: "),
    ],
)
def test_a_configuration_that_cannot_be_used(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_config({"model": "best.pt", **values})


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(f"file://{tmp_path}/store", tmp_path / "cache", 1)


def test_a_dataset_arrives_with_its_images_in_order(tmp_path: Path, store: FileStore) -> None:
    data_yaml = generate_scenes(tmp_path / "scenes", train=5, val=2, test=2)
    labels_of(images_of(read_dataset(data_yaml), "val")[1]).unlink()
    dataset = read_dataset(data_yaml)
    digest = dataset_digest(dataset)
    archived = archive_dataset(data_yaml, digest, store, tmp_path)
    assert archive_dataset(data_yaml, digest, store, tmp_path) == archived

    there = FileStore(f"file://{tmp_path}/store", tmp_path / "other cache", 1)
    arrived = read_dataset(unpack_dataset(archived, there, tmp_path / "there"))
    assert arrived.root == tmp_path / "there" / digest
    assert arrived.names == dataset.names
    for split in SPLITS:
        pairs = list(zip(images_of(dataset, split), images_of(arrived, split), strict=True))
        for ours, theirs in pairs:
            assert theirs.read_bytes() == ours.read_bytes()
            assert labels_of(theirs).is_file() == labels_of(ours).is_file()
            if labels_of(ours).is_file():
                assert labels_of(theirs).read_bytes() == labels_of(ours).read_bytes()
    assert str(tmp_path) not in yaml.safe_dump(yaml.safe_load(arrived.yaml.read_text()))


def test_a_dataset_that_left_the_store_is_sent_again(tmp_path: Path, store: FileStore) -> None:
    data_yaml = generate_scenes(tmp_path / "scenes", train=2, val=2, test=2)
    archived = archive_dataset(data_yaml, "a" * 64, store, tmp_path)
    sent = next((tmp_path / "store" / "files").glob(f"*/{archived.archive.sha256}"))
    sent.unlink()
    assert archive_dataset(data_yaml, "a" * 64, store, tmp_path) == archived
    assert sent.is_file()


def test_a_packed_request_names_files_by_their_content(tmp_path: Path, store: FileStore) -> None:
    for name in ("model.pt", "a.png", "b.png"):
        (tmp_path / name).write_text(name)
    request = ExportRequest(
        checkpoint=str(tmp_path / "model.pt"),
        imgsz=(64, 96),
        opset=17,
        images=(str(tmp_path / "a.png"), str(tmp_path / "b.png")),
        box_tolerance_px=0.5,
        score_tolerance=0.005,
        thresholds={"conf": 0.25},
        session=SessionSettings.of(LatencyConfig()),
    )
    data = generate_scenes(tmp_path / "scenes", train=2, val=2, test=2)
    dataset = archive_dataset(data, "b" * 64, store, tmp_path)

    def packed(step: str, request: Any) -> Any:
        return pack(step, "export-1", request, dataset, store, threads=1)

    remote = packed("export", request)
    assert remote.request["images"] == ["given/1-a.png", "given/2-b.png"]
    assert set(remote.files) == {"given/0-model.pt", "given/1-a.png", "given/2-b.png"}
    assert str(tmp_path) not in remote.model_dump_json(exclude={"store"})
    assert remote.dataset is None
    store.get(remote.files["given/2-b.png"], tmp_path / "got")
    assert (tmp_path / "got").read_text() == "b.png"
    # The name of a stock network is no file, and training it needs the dataset.
    stock = BaselineRequest(
        model="yolov8n.yaml", data_yaml=str(data), epochs=1, imgsz=64, batch=1, image_hw=(64, 96)
    )
    remote = packed("baseline", stock)
    assert (remote.request["model"], remote.files) == ("yolov8n.yaml", {})
    assert remote.dataset == dataset


def test_what_depends_on_this_hosts_speed_stays_here() -> None:
    values: dict[str, Any] = {
        "checkpoint": "model.pt",
        "data_yaml": "data.yaml",
        "goal": Goal(kind="ratio", value=0.3, label="0.3"),
        "round_to": 8,
        "importance": "magnitude",
        "bn_batches": 0,
        "imgsz": (64, 96),
    }
    timing = Timing(latency=LatencyConfig(), opset=17, host="this one")
    assert may_run_elsewhere("prune", PruneRequest(**values))
    assert not may_run_elsewhere("prune", PruneRequest(**values, timing=timing))
    assert not may_run_elsewhere("costs", PruneRequest(**values))


def test_errors_cross_processes_with_what_they_know() -> None:
    refused = pickle.loads(pickle.dumps(InputError("what", where="here", fix="mend it")))
    assert (refused.what, refused.where, refused.fix) == ("what", "here", "mend it")
    assert str(refused) == "here: what; mend it."
    failed = pickle.loads(pickle.dumps(ChildFailed("train", "why", returncode=-9, variant="x")))
    assert (failed.step, failed.reason, failed.returncode) == ("train", "why", -9)
    assert str(failed) == "x: train failed: why"
