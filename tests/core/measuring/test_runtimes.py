"""A small detector in every runtime, converted from its ONNX file and compared with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from latency_kit import IMGSZ, NC, write_detector, write_segmenter
from quantize_kit import write_images

from prunebench.common.errors import CheckpointError
from prunebench.common.records import Parity, Runtime
from prunebench.config.sections import AccuracyConfig, LatencyConfig
from prunebench.measuring import inference
from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.inference import OnnxNetwork
from prunebench.measuring.runtimes.on_openvino import openvino
from prunebench.measuring.runtimes.opening import SUFFIX, opener
from prunebench.measuring.session import SessionSettings
from prunebench.steps.cache import _named_in
from prunebench.steps.source_digest import follow
from prunebench.variants.conversion import Converted, Judged, Request, compare, run
from prunebench.variants.int8.nncf_file import archived

SESSION = SessionSettings.of(LatencyConfig())
SIXTEEN_BITS = 0.05
"""Share of the largest number that a network of three layers loses in bfloat16 (8 bits) at most."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return tuple(map(str, write_images(tmp_path_factory.mktemp("images"))))[:2]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("onnx") / "model.onnx", depth=2).onnx


def asked(onnx: Path, name: str, images: tuple[str, ...]) -> Request:
    return Request(
        onnx=str(onnx),
        runtime=Runtime(name=name, version="1"),
        imgsz=IMGSZ,
        classes=NC,
        images=images,
        box_tolerance_px=0.5,
        score_tolerance=0.005,
        integers=False,
        session=SESSION,
    )


def convert(onnx: Path, name: str, images: tuple[str, ...], folder: Path) -> Converted:
    return run(asked(onnx, name, images), folder, lambda event: None)


@pytest.mark.parametrize(("name", "library"), [(None, "onnxruntime"), ("mnn", "MNN")])
def test_a_library_is_imported_before_loading_is_timed(name: str | None, library: str) -> None:
    look = (
        "import sys; from prunebench.measuring.runtimes.opening import opener; "
        f"opener({name!r}); assert {library!r} in sys.modules"
    )
    subprocess.run([sys.executable, "-c", look], check=True)


@pytest.mark.parametrize("name", [name for name in SUFFIX if name != "openvino-nncf"])
def test_a_converted_file_computes_what_the_onnx_file_does_on_the_threads_asked_for(
    name: str, detector: Path, images: tuple[str, ...], tmp_path: Path
) -> None:
    made = convert(detector, name, images, tmp_path)
    assert made.onnx.holds(tmp_path)
    assert made.onnx.path.endswith(SUFFIX[name])
    assert made.parity.kept
    pixels = np.random.default_rng(0).random((1, 3, *IMGSZ), dtype=np.float32)
    (wanted,) = opener(None)(str(detector), 1, SESSION, None)(pixels)
    network = opener(name)(str(tmp_path / made.onnx.path), 1, SESSION, None)
    (first,) = network(pixels)
    network(np.zeros_like(pixels))
    # What it gave stays, whatever it computes next.
    (again,) = network(pixels)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    full = made.runtime.precision == "float32"
    np.testing.assert_allclose(
        first, wanted, atol=(1e-4 if full else SIXTEEN_BITS) * np.abs(wanted).max()
    )
    assert full or name == "openvino-default"
    described = network.describe()
    assert described["threads"] == "1"
    assert {"runtime", "precision", name.removesuffix("-default")} <= set(described)
    assert all(isinstance(value, str) for value in described.values())
    # OpenVINO reports its own import, unless it finds nothing to report with.
    assert sys.modules.get("openvino_telemetry") is None
    assert made.parity.box_tolerance_px == (0.5 if full else 0.1 * max(IMGSZ))


def test_an_archive_of_openvinos_own_files_is_known_by_its_content(
    detector: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    read = openvino.Core().read_model(detector)
    packed = archived(read, folder).rename(tmp_path / "a-kits-file")
    pixels = np.random.default_rng(0).random((1, 3, *IMGSZ), dtype=np.float32)
    (wanted,) = opener("openvino")(str(detector), 1, SESSION, None)(pixels)
    network = opener("openvino-nncf")(str(packed), 1, SESSION, None)
    np.testing.assert_array_equal(network(pixels)[0], wanted)
    assert network.describe()["precision"] == "float32"


def test_a_change_of_how_nncf_is_asked_converts_nothing_else_again(
    detector: Path, images: tuple[str, ...]
) -> None:
    plain = asked(detector, "mnn", images)
    rules = AccuracyConfig().model_dump(include={"confidence", "iou", "max_det"})
    judged = plain.model_copy(update={"judged": Judged(names={}, max_map50_loss=0.01, **rules)})
    for request, reached in ((plain, False), (judged, True)):
        named = frozenset(_named_in(request))
        statements, _ = follow([("prunebench.variants.conversion", "run")], named)
        assert ("prunebench.variants.int8.nncf_file" in {name for name, _ in statements}) is reached


class Finished:
    """Ends in detections, of which two score alike and trade places in another runtime."""

    head, metadata = Detect(), dict[str, str]()
    rows = np.float32([[0, 0, 9, 9, 0.9, 0], [20, 20, 31, 29, 0.9, 1], [3, 3, 8, 8, 0.5, 0]])

    def __init__(self, *_: object, runtime: Runtime | None = None) -> None:
        self.order = [0, 1, 2] if runtime is None else [1, 0, 2]

    def __call__(self, image: object) -> list[np.ndarray]:
        return [self.rows[None, self.order]]

    def describe(self) -> dict[str, str]:
        return {"precision": "float32"}


def test_finished_detections_are_compared_whatever_their_order(
    images: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "OnnxNetwork", Finished)
    parity, _ = compare(tmp_path / "model.onnx", asked(tmp_path / "model.onnx", "mnn", images))
    assert (parity.max_box_px, parity.max_score) == (0, 0)


def test_outputs_come_in_the_order_of_the_onnx_file(
    images: tuple[str, ...], tmp_path: Path
) -> None:
    write_segmenter(tmp_path / "model.onnx", (16, 24))
    pixels = np.zeros((1, 3, *IMGSZ), dtype=np.float32)
    wanted = opener(None)(str(tmp_path / "model.onnx"), 1, SESSION, None)(pixels)
    found = opener("openvino")(str(tmp_path / "model.onnx"), 1, SESSION, None)(pixels)
    assert [one.shape for one in found] == [one.shape for one in wanted]


def test_a_file_that_is_none_of_the_runtimes_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="openvino cannot load the file"):
        OnnxNetwork(
            tmp_path / "model.onnx", IMGSZ, SESSION, runtime=Runtime(name="openvino", version="1")
        )


@pytest.mark.parametrize(
    ("box", "score", "kept"),
    [(0.5, 0.005, True), (0.51, 0, False), (0, 0.006, False), (float("nan"), 0, False)],
)
def test_parity_is_kept_within_both_limits(box: float, score: float, kept: bool) -> None:
    limits = {"box_tolerance_px": 0.5, "score_tolerance": 0.005}
    assert Parity(images=1, max_box_px=box, max_score=score, **limits).kept is kept


BUSY = """
import sys, time
from pathlib import Path
import numpy as np
from prunebench.measuring.runtimes.opening import opener
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.session import SessionSettings
name, file, threads, height, width = sys.argv[1:]
image = np.zeros((1, 3, int(height), int(width)), np.float32)
def spent():
    tasks = Path("/proc/self/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}
network = opener(name)(file, int(threads), SessionSettings.of(LatencyConfig()), None)
network(image)
before, began = spent(), time.perf_counter()
while time.perf_counter() < began + 0.3:
    network(image)
worked = [after - before.get(task, 0) for task, after in spent().items()]
print(network.describe()["threads"], sum(ns > 0.02 * sum(worked) for ns in worked))
"""
"""Says how many threads a runtime has by its own word, and how many took CPU time."""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["openvino", "ncnn", "mnn", "litert"])
def test_no_more_threads_work_than_are_asked_for(
    name: str, threads: int, images: tuple[str, ...], tmp_path: Path
) -> None:
    onnx = write_detector(tmp_path / "model.onnx", depth=8).onnx
    made = convert(onnx, name, images, tmp_path)
    command = [sys.executable, "-c", BUSY, name, str(tmp_path / made.onnx.path), str(threads)]
    ended = subprocess.run([*command, *map(str, IMGSZ)], capture_output=True, text=True, check=True)
    said, busy = ended.stdout.split()[-2:]
    assert int(said) == threads
    # On a busy host another one may get nothing to do.
    assert 1 <= int(busy) <= threads
