"""The controls: the next lower letterbox, the next smaller network, and its width."""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.common.errors import ConfigError, StepError
from prunebench.common.records import Structure
from prunebench.config.loading import RuntimeName, parse_config
from prunebench.experiment import runtimes
from prunebench.experiment.controls import lower_letterbox, smaller_network, trained_letterbox
from prunebench.experiment.runtimes import runtimes_of
from prunebench.variants.stock_width import lower_width, macs_of, stock_description

SIDES = st.integers(2, 60).map(lambda steps: 32 * steps)


@pytest.mark.parametrize(
    ("hw", "lower"),
    [
        # 10 steps wide become 9, so 6 high become 5.4: 5 is nearest.
        ((192, 320), (160, 288)),
        ((320, 192), (288, 160)),
        ((640, 640), (608, 608)),
        # 20 become 19, so 12 become 11.4.
        ((384, 640), (352, 608)),
        # 3 become 2, so 2 become 1.33.
        ((64, 96), (32, 64)),
        # 4 become 3, so 2 become 1.5: the lower one of 1 and 2.
        ((64, 128), (32, 96)),
    ],
)
def test_the_next_lower_letterbox(hw: tuple[int, int], lower: tuple[int, int]) -> None:
    assert lower_letterbox(hw) == lower


@given(SIDES, SIDES)
def test_a_lower_letterbox_is_one_step_down_and_keeps_the_aspect_best(
    height: int, width: int
) -> None:
    lower = lower_letterbox((height, width))
    assert lower is not None
    assert max(lower) == max(height, width) - 32
    assert all(side % 32 == 0 and side >= 32 for side in lower)
    assert lower[0] <= height
    assert lower[1] <= width
    ideal = min(height, width) * max(lower) / max(height, width)
    assert abs(min(lower) - ideal) <= 16


def test_nothing_is_below_a_side_of_32_pixels() -> None:
    assert lower_letterbox((32, 64)) is None
    assert lower_letterbox((640, 32)) is None


@pytest.mark.parametrize(
    ("hw", "side", "letterbox"),
    [
        # 10 steps wide become 20, so 6 high become 12.
        ((192, 320), 640, (384, 640)),
        ((320, 192), 640, (640, 384)),
        ((640, 640), 320, (320, 320)),
        # 3 become 5, so 2 become 3.33.
        ((64, 96), 160, (96, 160)),
        # 4 become 2, so 3 become 1.5: the higher one of 1 and 2.
        ((96, 128), 64, (64, 64)),
        # 640 wide become 64 wide, so 32 high become 3.2: not below one step.
        ((32, 640), 64, (32, 64)),
        # A training rounds its size up to a multiple of 32.
        ((192, 320), 630, (384, 640)),
        ((192, 320), 310, None),
        ((192, 320), 320, None),
    ],
)
def test_the_letterbox_of_the_training_size(
    hw: tuple[int, int], side: int, letterbox: tuple[int, int] | None
) -> None:
    assert trained_letterbox(hw, side) == letterbox


@given(SIDES, SIDES, SIDES)
def test_the_letterbox_of_the_training_keeps_the_aspect_best(
    height: int, width: int, side: int
) -> None:
    found = trained_letterbox((height, width), side)
    if found is None:
        assert max(height, width) == side
        return
    assert max(found) == side
    assert all(pixels % 32 == 0 and pixels >= 32 for pixels in found)
    assert (found[0] >= found[1]) == (height >= width) or min(found) == side
    ideal = min(height, width) * side / max(height, width)
    assert abs(min(found) - max(32, ideal)) <= 16


def structure(stock: str | None) -> Structure:
    return Structure(
        task="detect",
        names={0: "cat"},
        parameters=1,
        parameters_fused=1,
        macs=1,
        macs_imgsz=(64, 64),
        widths={},
        fused=False,
        stock=stock,
    )


@pytest.mark.parametrize(
    ("model", "stock", "smaller", "narrowed"),
    [
        ("yolov8s.yaml", None, "yolov8n.yaml", False),
        ("yolov8m.yaml", None, "yolov8s.yaml", False),
        ("yolo11n.yaml", None, "yolo11n.yaml", True),
        ("best.pt", "yolov8n, 7 classes", "yolov8n.yaml", True),
        ("best.pt", "yolo26x, 80 classes", "yolo26l.yaml", False),
    ],
)
def test_the_next_smaller_network(
    model: str, stock: str | None, smaller: str, narrowed: bool
) -> None:
    found = smaller_network(model, structure(stock) if stock else None)
    assert (found.description, found.narrowed) == (smaller, narrowed)


@pytest.mark.parametrize(
    ("model", "given", "sentence"),
    [
        ("best.pt", structure(None), "controls: the model is no stock network, so"),
        (
            "best.pt",
            structure("yolov8n-seg, 7 classes"),
            "controls: yolov8n-seg is no stock detection network, so",
        ),
        ("mine.yaml", None, "controls: mine is no stock detection network, so"),
    ],
)
def test_a_model_without_a_family_has_no_smaller_network(
    model: str, given: Structure | None, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        smaller_network(model, given)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).endswith("; leave smaller out.")


IMGSZ = (64, 96)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_width_is_the_largest_that_keeps_the_macs(share: float) -> None:
    """Widths differ in steps of 8 / 1024: the next one up has more MACs than allowed."""
    name = "yolov8n.yaml"
    target = round(share * macs_of(stock_description(name), 7, IMGSZ))
    width = lower_width(name, target, 7, IMGSZ)
    steps = width * 1024 / 8
    assert steps == round(steps)
    assert macs_of(stock_description(name, width), 7, IMGSZ) <= target
    assert macs_of(stock_description(name, width + 8 / 1024), 7, IMGSZ) > target


def test_the_width_of_the_whole_network_is_its_own() -> None:
    whole = macs_of(stock_description("yolov8n.yaml"), 7, IMGSZ)
    assert lower_width("yolov8n.yaml", whole, 7, IMGSZ) == 0.25


def test_a_network_can_be_too_small_for_any_width() -> None:
    with pytest.raises(StepError, match=r"even the narrowest yolov8n has .* M MACs"):
        lower_width("yolov8n.yaml", 1000, 7, IMGSZ)


def test_a_narrowed_description_has_the_channels_of_its_width() -> None:
    """Ultralytics' make_divisible: channels are rounded up to a multiple of 8."""
    narrowed = stock_description("yolov8n.yaml", 0.2)
    assert narrowed["yaml_file"] == "yolov8n-width-0.2.yaml"
    from ultralytics.nn.tasks import DetectionModel

    first = DetectionModel(narrowed, nc=7, verbose=False).model[0].conv
    assert first.out_channels == math.ceil(64 * 0.2 / 8) * 8


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"runtimes": ["ncnn"]},
            r"runtimes: ncnn is not installed; install what is missing with: pip install "
            r"'prunebench\[ncnn\]'\.",
        ),
        (
            {"runtimes": ["openvino-default", "openvino-nncf", "openvino", "mnn"]},
            r"runtimes: openvino-default, openvino-nncf, openvino and mnn are not installed; "
            r"install what is missing with: pip install 'prunebench\[openvino,nncf,mnn\]'\.",
        ),
        (
            {"controls": ["runtime"]},
            r"controls: no other runtime is installed; install one, as with: pip install "
            r"'prunebench\[openvino\]'\.",
        ),
    ],
)
def test_a_runtime_that_is_not_installed_is_refused(
    asked: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(runtimes, "version", missing)
    with pytest.raises(ConfigError, match=sentence):
        runtimes_of(parse_config({"model": "m.pt", **asked}))
    assert runtimes_of(parse_config({"model": "m.pt"})) == ()


def test_runtimes_are_those_named_or_all_that_are_installed() -> None:
    named = runtimes_of(parse_config({"model": "m.pt", "runtimes": ["mnn", "openvino"]}))
    assert [one.name for one in named] == ["mnn", "openvino"]
    assert named[1].version == f"openvino {version('openvino')}"
    (by_nncf,) = runtimes_of(parse_config({"model": "m.pt", "runtimes": ["openvino-nncf"]}))
    assert by_nncf.version == f"openvino {version('openvino')}, nncf {version('nncf')}"
    every = runtimes_of(parse_config({"model": "m.pt", "controls": ["runtime"]}))
    assert tuple(one.name for one in every) == get_args(RuntimeName)
    with pytest.raises(ConfigError, match="did you mean openvino"):
        parse_config({"model": "m.pt", "runtimes": ["openvin"]})
