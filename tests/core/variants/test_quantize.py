"""The INT8 file of a small detector, its search for layers to leave in float, and bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from quantize_kit import DEPTH, IMGSZ, METADATA, NAMES, label, request, write_detector, write_images

from prunebench.common.errors import CheckpointError, DatasetError, StepError
from prunebench.common.records import Quantization
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.accuracy import Request as AccuracyRequest
from prunebench.measuring.accuracy import run as evaluate
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.profile import OffBlock
from prunebench.measuring.profile import Request as DiagnosisRequest
from prunebench.measuring.profile import run as diagnose
from prunebench.measuring.session import SessionSettings
from prunebench.variants.audit import audit_file
from prunebench.variants.int8.float_layers import fewest, prediction_error, sources_of
from prunebench.variants.int8.quantizer import Quantizer
from prunebench.variants.int8.step import Quantized, Request, run

FIRST = {"c0.conv": "its 3 input channels do not fill an integer dot product"}
SESSION = SessionSettings.of(LatencyConfig())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return write_images(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def detector(images: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_detector(tmp_path_factory.mktemp("float") / "model.onnx")
    label(path, images)
    return path


@pytest.fixture(scope="module")
def quantized(
    detector: Path, images: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Quantized]:
    folder = tmp_path_factory.mktemp("quantized")
    return folder, quantize(request(detector, images), folder)


def quantize(asked: Request, folder: Path) -> Quantized:
    return run(asked, folder, lambda event: None)


def stored(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_layers_are_on_integers_and_neither_the_first_nor_the_decoding(
    quantized: tuple[Path, Quantized],
) -> None:
    folder, record = quantized
    assert (record.layers, record.quantized, record.left_float) == (DEPTH + 2, DEPTH + 1, FIRST)
    assert (record.activations, record.calibration_images) == ("u8", 12)
    nodes = onnx.load(folder / record.onnx.path).graph.node
    made = {
        output for node in nodes if node.op_type == "DequantizeLinear" for output in node.output
    }
    for node in nodes:
        if node.name in ("c0.conv", "decode.sigmoid", "decode.concat", "decode.flat"):
            assert not made & set(node.input)
        elif node.op_type == "Conv":
            assert made.issuperset(node.input)


def test_only_the_file_is_left(quantized: tuple[Path, Quantized], detector: Path) -> None:
    folder, record = quantized
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert [path.name for path in detector.parent.iterdir()] == ["model.onnx"]
    assert record.onnx.holds(folder)
    assert record.onnx.bytes < detector.stat().st_size


def test_input_outputs_and_metadata_are_the_float_files(
    quantized: tuple[Path, Quantized], detector: Path
) -> None:
    folder, record = quantized
    ours, theirs = onnx.load(folder / record.onnx.path), onnx.load(detector)
    assert list(ours.graph.input) == list(theirs.graph.input)
    assert list(ours.graph.output) == list(theirs.graph.output)
    metadata = {entry.key: entry.value for entry in ours.metadata_props}
    assert metadata.pop("prunebench_int8")
    assert metadata == METADATA


def test_weights_have_a_scale_per_channel(
    quantized: tuple[Path, Quantized], detector: Path
) -> None:
    folder, record = quantized
    integers, floats = stored(folder / record.onnx.path), stored(detector)
    for index in range(1, DEPTH):
        weight = floats[f"c{index}.conv.weight"]
        # Symmetric 8 bits without -128: the largest weight of a channel becomes 127.
        scale = np.abs(weight).max(axis=(1, 2, 3)) / 127
        steps = integers[f"c{index}.conv.weight_quantized"].astype(float)
        assert integers[f"c{index}.conv.weight_scale"] == pytest.approx(scale, rel=1e-5)
        assert np.abs(steps - weight / scale[:, None, None, None]).max() <= 0.5 + 1e-3


def test_ranges_are_those_of_the_letterboxed_images(
    quantized: tuple[Path, Quantized], detector: Path, images: tuple[Path, ...], tmp_path: Path
) -> None:
    folder, record = quantized
    model = onnx.load(detector)
    model.graph.output.append(onnx.ValueInfoProto(name="c1.conv_out"))
    onnx.save(model, tmp_path / "open.onnx")
    network = OnnxNetwork(tmp_path / "open.onnx", IMGSZ, SESSION)
    tensors = [read_input(path, IMGSZ, network.head)[0] for path in images]
    values = np.concatenate([network(tensor)[1] for tensor in tensors])
    integers = stored(folder / record.onnx.path)
    scale = integers["c1.conv_out_scale"]
    assert scale == pytest.approx((values.max() - values.min()) / 255, rel=1e-4)
    assert integers["c1.conv_out_zero_point"] == round(float(-values.min() / scale))


def test_accuracy_is_that_of_the_file(
    quantized: tuple[Path, Quantized], detector: Path, images: tuple[Path, ...], tmp_path: Path
) -> None:
    folder, record = quantized
    judged_by = set(AccuracyRequest.model_fields)
    # What it computes with apart, layers are judged by all that accuracy is measured by.
    assert judged_by - {"options", "runtime"} <= set(Request.model_fields)
    asked = request(detector, images).model_dump(include=judged_by)
    for file, map50 in (
        (folder / record.onnx.path, record.map50),
        (detector, record.map50_float),
    ):
        again = AccuracyRequest.model_validate(asked | {"onnx": str(file)})
        assert evaluate(again, tmp_path, lambda event: None).map50 == map50
    assert record.map50_float - 0.05 <= record.map50 < 1
    assert record.map50_float > 0.9


def test_activations_are_signed_for_arm(
    detector: Path, images: tuple[Path, ...], tmp_path: Path
) -> None:
    record = quantize(request(detector, images, activations="s8"), tmp_path)
    assert record.activations == "s8"
    integers = stored(tmp_path / record.onnx.path)
    assert {
        value.dtype for name, value in integers.items() if name.endswith("_out_zero_point")
    } == {np.dtype(np.int8)}


def test_layers_that_hurt_stay_in_float(images: tuple[Path, ...], tmp_path: Path) -> None:
    hostile = write_detector(tmp_path / "hostile.onnx", hostile=3)
    record = quantize(request(hostile, images), tmp_path)
    # The tensor between the two is on one scale of 8 bits as long as either is on integers.
    assert set(record.left_float) == {"c0.conv", "c3.conv", "c4.conv"}
    assert record.quantized == record.layers - 3
    assert record.map50_float - record.map50 <= 0.05
    for name in ("c3.conv", "c4.conv"):
        reason = record.left_float[name]
        assert reason.startswith("alone on integers it moves the predictions by ")


def test_what_cannot_be_reached_is_said_with_the_nearest(
    images: tuple[Path, ...], detector: Path, tmp_path: Path
) -> None:
    with pytest.raises(StepError, match=r"quantize failed: with 4 of 9 layers left in float .*"):
        quantize(request(detector, images, max_map50_loss=-1.0), tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 70), st.integers(1, 60))
def test_the_fewest_are_found_with_few_attempts(needed: int, most: int) -> None:
    tried: list[int] = []

    def attempt(count: int) -> int:
        tried.append(count)
        return count

    found = fewest(attempt, lambda count: count >= needed, most)
    assert found == (None if needed > most else (max(1, needed), max(1, needed)))
    assert len(tried) == len(set(tried)) <= 2 * most.bit_length() + 1


def test_the_error_of_predictions() -> None:
    expected = np.array([[10, 10, 8, 4, 0.8, 0.2], [50, 50, 4, 4, 0, 0]], np.float32).T[None]
    assert prediction_error(expected, expected, 2) == pytest.approx(0, abs=1e-6)
    moved = expected.copy()
    moved[0, 0] += 4  # half of its width: a third of the union is shared
    assert prediction_error(moved, expected, 2) == pytest.approx(2 / 3 * 0.8 / 0.8, abs=1e-5), (
        "the box of the background does not count"
    )
    moved = expected.copy()
    moved[0, 4:, 0] = 0.6, 0.3
    assert prediction_error(moved, expected, 2) == pytest.approx(0.3, abs=1e-5)


def test_the_diagnosis_counts_an_int8_file(
    quantized: tuple[Path, Quantized], detector: Path, tmp_path: Path
) -> None:
    folder, record = quantized
    asked = DiagnosisRequest(
        onnx=str(folder / record.onnx.path),
        baseline=str(detector),
        threads=1,
        session=SESSION,
        block=16,
    )
    found = diagnose(asked, tmp_path, lambda event: None)
    assert (found.variant.quantized, found.variant.convolutions) == (DEPTH + 1, DEPTH + 2)
    assert found.baseline.quantized == 0
    assert found.variant.mmacs == pytest.approx(found.baseline.mmacs)
    assert found.variant.off_block == found.baseline.off_block == {"box": 4, "score": 3}
    assert not any(isinstance(cause, OffBlock) for cause in found.causes)


def test_the_audit_counts_an_int8_file_as_its_float_file(
    quantized: tuple[Path, Quantized], detector: Path
) -> None:
    folder, record = quantized
    ours, theirs = audit_file(folder / record.onnx.path), audit_file(detector)
    assert ours.counted == theirs.counted is not None
    assert ours.onnx is not None
    assert ours.onnx.quantization == Quantization(**record.model_dump(exclude={"onnx"}))
    assert ours.onnx.integer_layers == record.quantized


def test_bad_input(
    detector: Path,
    images: tuple[Path, ...],
    quantized: tuple[Path, Quantized],
    tmp_path: Path,
) -> None:
    folder, record = quantized
    with pytest.raises(DatasetError, match="there is no image to calibrate on; give it training"):
        quantize(request(detector, images, calibration=()), tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"broken\.png: the image cannot be read"):
        quantize(request(detector, images, calibration=(str(broken),)), tmp_path)
    with pytest.raises(CheckpointError, match=r"its input is \[1, 3, 64, 96\], not \[1, 3, 32, 96"):
        quantize(request(detector, images, imgsz=(32, 96)), tmp_path)
    with pytest.raises(CheckpointError, match="it is quantized already; give the float file"):
        quantize(request(folder / record.onnx.path, images), tmp_path)
    with pytest.raises(CheckpointError, match="it predicts 3 classes, the dataset has 4"):
        quantize(request(detector, images, names={**NAMES, 3: "d"}), tmp_path)
    old = write_detector(tmp_path / "old.onnx", opset=12)
    with pytest.raises(CheckpointError, match=r"operator set 12 .* set export\.opset to 13"):
        quantize(request(old, images), tmp_path)
    (tmp_path / "images").mkdir()
    unlabelled = Path(shutil.copy(images[0], tmp_path / "images"))
    with pytest.raises(DatasetError, match="none of the 1 images has a labelled object"):
        quantize(request(detector, (unlabelled,)), tmp_path)


def test_a_grey_image_calibrates_as_it_would_be_deployed(
    detector: Path, images: tuple[Path, ...], tmp_path: Path
) -> None:
    import cv2

    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.random.default_rng(0).integers(0, 256, (50, 90), dtype=np.uint8))
    calibration = (*map(str, images), str(grey))
    record = quantize(request(detector, images, calibration=calibration), tmp_path)
    assert record.calibration_images == 13


def test_finished_detections_are_refused(
    detector: Path, images: tuple[Path, ...], tmp_path: Path
) -> None:
    model = onnx.load(detector)
    for dim, value in zip(
        model.graph.output[0].type.tensor_type.shape.dim, (1, 112, 6), strict=True
    ):
        dim.dim_value = value
    flat = next(tensor for tensor in model.graph.initializer if tensor.name == "flat")
    flat.CopyFrom(numpy_helper.from_array(np.array([1, 112, 6]), "flat"))
    onnx.save(model, tmp_path / "finished.onnx")
    with pytest.raises(CheckpointError, match="it predicts finished detections; export it with"):
        quantize(request(tmp_path / "finished.onnx", images), tmp_path)


def test_layers_left_in_float_run_in_float(
    detector: Path, images: tuple[Path, ...], tmp_path: Path
) -> None:
    """Behind a ReLU they stand between integers, where onnxruntime would round their weights."""
    model = onnx.load(detector)
    plain = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Sigmoid"}
    for node in model.graph.node:
        if node.op_type == "Mul":
            node.op_type, node.input[:] = "Relu", [plain[node.input[1]]]
    onnx.save(model, tmp_path / "relu.onnx")
    quantizer = Quantizer(tmp_path / "relu.onnx", IMGSZ, "u8", SESSION, tmp_path)
    quantizer.calibrate(images[:2], lambda event: None)
    left = [f"c{index}.conv" for index in range(2, DEPTH, 2)]
    path = quantizer.write("left", left)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    literal = ort.SessionOptions()
    literal.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    image = read_input(images[0], IMGSZ, OnnxNetwork(detector, IMGSZ, SESSION).head)[0]
    found, expected = (
        ort.InferenceSession(path, how).run(None, {"images": image})[0]
        for how in (options, literal)
    )
    nodes = onnx.load(tmp_path / "loaded.onnx").graph.node
    on_integers = {node.name for node in nodes if node.op_type == "QLinearConv"}
    assert len(on_integers) == len(quantizer.layers) - len(left)
    assert not on_integers & set(left)
    assert prediction_error(found, expected, len(NAMES)) < 0.01


@pytest.mark.parametrize("joined", [False, True])
def test_an_upsampling_stays_in_float_where_only_sums_in_float_take_it(joined: bool) -> None:
    beside = "joined = Concat <axis = 1> (large, image)" if joined else "joined = Abs (image)"
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
        detector (float[1, 8, 8, 8] image, float[8, 8, 1, 1] w) => (float[1, 8, 8, 8] out, joined)
        <float[4] scales = {{1, 1, 2, 2}}> {{
          small = Conv <strides = [2, 2]> (image, w)
          large = Resize (small, , scales)
          other = Conv (image, w)
          sum = Add (large, other)
          gate = Sigmoid (sum)
          out = Mul (sum, gate)
          {beside}
        }}""")
    for node in model.graph.node:
        node.name = node.output[0]
    found = sources_of(model)
    assert set(found) == {"small", "other"} | ({"large", "joined"} if joined else set())
    assert not joined or found["large"] == {"small"}
