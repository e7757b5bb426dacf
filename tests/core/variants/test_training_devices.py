"""What trainings run on: chosen among what a host has, a part of the key, and locked."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pruning_kit import tiny_network
from retraining_kit import make_dataset, make_network, request

from prunebench.common.errors import EXIT_BAD_INPUT, ConfigError, StepError
from prunebench.config.loading import Config
from prunebench.experiment.given_model import given_request, plan_notes, trained_on
from prunebench.measuring.host.lock import using_card
from prunebench.steps.cache import step_key
from prunebench.variants.devices import Device, Devices, GpuCard, batch_for, choose, devices_here
from prunebench.variants.given import open_given
from prunebench.variants.retraining.arithmetic import asked_of_ultralytics
from prunebench.variants.retraining.step import run

NEW = GpuCard(name="H200", memory=140 * 2**30, bfloat16=True, uuid="GPU-new")
OLD = GpuCard(name="T4", memory=15 * 2**30, bfloat16=False, uuid="GPU-old")
NONE = Devices(precision="float32", cores=8, torch="2.14.1+cpu")
TWO = Devices(cards=(NEW, OLD), precision="bfloat16", cores=8, torch="2.14.1")
APPLE = Devices(mps=True, cores=8, torch="2.14.1")


@pytest.mark.parametrize(
    ("asked", "here", "kind", "cards", "precision"),
    [
        ("auto", NONE, "cpu", None, "float32"),
        ("auto", TWO, "cuda", (0,), "bfloat16"),
        ("auto", APPLE, "mps", None, "float32"),
        ("cpu", TWO, "cpu", None, "bfloat16"),
        ("cuda", TWO, "cuda", (0,), "bfloat16"),
        ("cuda:1", TWO, "cuda", (1,), "float16"),
        ((0, 1), TWO, "cuda", (0, 1), "float16"),
    ],
)
def test_the_device_is_the_one_asked_for(
    asked: Any, here: Devices, kind: str, cards: Any, precision: str
) -> None:
    device = choose(asked, "auto", here)
    assert (device.kind, device.cards, device.precision) == (kind, cards, precision)


@pytest.mark.parametrize(
    ("asked", "precision", "here", "said"),
    [
        ("cuda", "auto", NONE, r"retrain.device: there is no GPU 0: torch 2.14.1\+cpu, a build"),
        ("cuda:2", "auto", TWO, "there is no GPU 2: torch 2.14.1 sees 2 GPUs .*; use 0 to 1"),
        ((0, 3), "auto", TWO, "there is no GPU 3"),
        ("mps", "auto", TWO, "no GPU of Apple's"),
        ("cuda:1", "bfloat16", TWO, "cannot multiply in bfloat16 on T4; set it to auto"),
        ("cpu", "float16", TWO, "cannot multiply in float16 on CPU"),
    ],
)
def test_what_is_not_there_is_refused(asked: Any, precision: Any, here: Devices, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        choose(asked, precision, here)
    assert caught.value.exit_code == EXIT_BAD_INPUT


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", [], [0, 0], [-1]])
def test_no_device_by_that_name(device: Any) -> None:
    with pytest.raises(ValueError, match="device"):
        Config.model_validate({"model": "best.pt", "retrain": {"device": device}})


def test_a_model_is_opened_with_the_device_it_will_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network(tmp_path / "network.pt")
    monkeypatch.setattr("prunebench.variants.given.devices_here", lambda: TWO)
    model = {"model": str(network), "prune": {"round_to": 8}}
    config = Config.model_validate({**model, "retrain": {"device": "cuda:1"}})
    asked = given_request(config, None).model_copy(update={"sides": {}})
    assert open_given(asked).device == choose("cuda:1", "auto", TWO)
    monkeypatch.setattr("prunebench.variants.given.devices_here", lambda: NONE)
    with pytest.raises(ConfigError, match="no GPU 1"):
        open_given(asked)
    here = Config.model_validate({**model, "retrain": {"batch": "auto"}})
    given = open_given(given_request(here, None).model_copy(update={"sides": {}}))
    assert (given.device.kind, given.batch) == ("cpu", 16)
    assert batch_for(None, given.device, 320) == 16


@pytest.mark.parametrize(("name", "objects"), [("yolov8n", 100), ("yolov8n-cls", 0)])
def test_a_batch_is_tried_with_the_objects_that_a_loss_looks_at(
    name: str, objects: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnCpu(Device):
        @property
        def torch_name(self) -> str:
            return "cpu"

    asked = []

    def fits(*_: Any, max_num_obj: int, **__: Any) -> int:
        asked.append(max_num_obj)
        return 50

    monkeypatch.setattr("ultralytics.utils.autobatch.check_train_batch_size", fits)
    device = OnCpu(kind="cuda", cards=(0, 1), name="GPU")
    assert batch_for(tiny_network(name), device, 64) == 2 * 32
    assert asked == [objects]


def test_what_a_cluster_has_is_not_looked_for_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network(tmp_path / "n.pt")
    monkeypatch.setattr("prunebench.variants.given.devices_here", lambda: NONE)
    cluster = {"engine": "dask", "address": "tcp://gpu:8786", "store": "s3://bucket/runs"}
    values = {"model": str(network), "prune": {"round_to": 8}, **cluster}
    config = Config.model_validate({**values, "retrain": {"device": "cuda:1", "batch": "auto"}})

    def told() -> tuple[Device, str]:
        given = open_given(given_request(config, None).model_copy(update={"sides": {}}))
        return given.device, " ".join(plan_notes(config, (), given, None, None))

    _, unknown = told()
    assert "Trainings run on the Dask cluster at tcp://gpu:8786" in unknown
    with trained_on(TWO):
        device, known = told()
    assert device == choose("cuda:1", "auto", TWO)
    assert "Trainings run on T4 in float16" in known


def test_a_key_holds_the_kind_of_device_and_not_its_number(tmp_path: Path) -> None:
    data_yaml = make_dataset(tmp_path / "data")
    asked = request(make_network(tmp_path / "n.pt"), data_yaml, "preserving")

    def key(**changes: Any) -> str:
        return step_key("train", asked.model_copy(update=changes), {})

    def on(*cards: int, **more: Any) -> Device:
        return Device(kind="cuda", cards=cards, **more)

    assert key(device=on(0)) == key(device=on(1, name="H200", cores=64))
    different = [key(), key(device=on(0)), key(device=on(0, 1)), key(device=Device(kind="mps"))]
    different.append(key(workers=2))
    assert len(set(different)) == len(different)
    assert key(cache="disk") == key(cache="none"), "it changes no image"


@pytest.mark.parametrize(
    ("device", "precision", "amp"),
    [
        (Device(), "bfloat16", False),
        (Device(kind="cuda", cards=(0,)), "bfloat16", "bf16"),
        (Device(kind="cuda", cards=(0,)), "float16", True),
        (Device(kind="cuda", cards=(0,)), "float32", False),
        (Device(kind="mps"), "float32", False),
    ],
)
def test_ultralytics_is_asked_for_mixed_precision_on_a_gpu(
    device: Device, precision: Any, amp: Any
) -> None:
    assert asked_of_ultralytics(device, precision) == amp


def test_workers_are_shared_by_the_gpus_and_none_on_a_cpu() -> None:
    assert Device(cores=16).workers == 0
    assert Device(kind="cuda", cards=(0,), cores=16).workers == 8
    assert Device(kind="cuda", cards=(0, 1, 2, 3), cores=16).workers == 4


def test_a_second_training_waits_for_the_card_and_says_for_whom(tmp_path: Path) -> None:
    said: list[str] = []
    waiting = threading.Event()

    def note(sentence: str) -> None:
        said.append(sentence)
        waiting.set()

    def second() -> None:
        with using_card(0, "GPU-new", "second", note, folder=tmp_path):
            said.append("has it")

    with using_card(0, "GPU-new", "the training in /out", pytest.fail, folder=tmp_path):
        with using_card(1, "GPU-old", "another card", pytest.fail, folder=tmp_path):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(20)
        assert said[0].startswith("GPU 0 trains one network at a time: waiting for the training in")
        assert "has it" not in said
    thread.join(20)
    assert said[-1] == "has it"


def test_a_training_sent_where_its_gpu_is_not_says_so(tmp_path: Path) -> None:
    assert devices_here().cards == () or pytest.skip("this host has a GPU")
    data_yaml = make_dataset(tmp_path / "data")
    gone = Device(kind="cuda", cards=(0,), name="H200")
    asked = request(make_network(tmp_path / "n.pt"), data_yaml, "preserving", device=gone)
    with pytest.raises(StepError, match="this host has no H200 0"):
        run(asked, tmp_path / "work", lambda _: None)
