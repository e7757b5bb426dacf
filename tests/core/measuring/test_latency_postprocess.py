"""Letterbox and NMS against Ultralytics' own functions, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.ops  # noqa: F401  Ultralytics then uses its stable NMS: ties have one answer
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.data.augment import LetterBox
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import process_mask

from prunebench.measuring.postprocess import build_masks, decode_and_nms, letterbox


def _raw_output(
    seed: int, nc: int, anchors: int, extra: int = 0, grid: float | None = None
) -> np.ndarray:
    """Crowded random boxes, so that NMS has something to drop; ``grid`` makes exact ties."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(20, 120, (2, anchors))
    sizes = rng.uniform(5, 60, (2, anchors))
    scores = rng.beta(0.5, 2.0, (nc, anchors))
    if grid is not None:
        centres, sizes = np.round(centres / grid) * grid, np.round(sizes / grid + 1) * grid
        scores = np.round(scores * 20) / 20
    masks = rng.normal(size=(extra, anchors))
    return np.concatenate([centres, sizes, scores, masks])[None].astype(np.float32)


def _ultralytics(output: np.ndarray, nc: int, multi_label: bool, **kwargs: float) -> np.ndarray:
    detections = non_max_suppression(
        torch.from_numpy(output.copy()),
        kwargs["conf"],
        kwargs["iou"],
        max_det=int(kwargs["max_det"]),
        multi_label=multi_label,
        nc=nc,
    )[0]
    return detections.numpy()


@pytest.mark.parametrize(
    "size", [(180, 320), (320, 180), (1, 999), (64, 96), (97, 53), (1080, 1920), (7, 5)]
)
@pytest.mark.parametrize("frame", [(64, 96), (192, 320), (96, 96)])
def test_letterbox_is_ultralytics_letterbox(size: tuple[int, int], frame: tuple[int, int]) -> None:
    rng = np.random.default_rng(size[0])
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    tensor, scale, (left, top) = letterbox(image, frame)

    theirs = LetterBox(frame, auto=False, scaleup=True)(image=image)
    # Ultralytics' predictor: BGR to RGB, HWC to CHW, float32, divided by 255 in torch.
    expected = torch.from_numpy(
        np.ascontiguousarray(theirs[None][..., ::-1].transpose(0, 3, 1, 2))
    ).float()
    expected /= 255
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, expected.numpy())
    parameters = LetterBox(frame).get_params({"img": image})
    assert (left, top) == (parameters["left"], parameters["top"])
    assert scale == parameters["ratio"][0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    nc=st.sampled_from([1, 3, 7, 80]),
    anchors=st.sampled_from([1, 30, 400]),
    extra=st.sampled_from([0, 32]),
    conf=st.sampled_from([0.001, 0.25, 0.6, 0.999]),
    iou=st.sampled_from([0.45, 0.6, 0.7]),
    max_det=st.sampled_from([5, 300]),
    multi_label=st.booleans(),
)
def test_nms_is_ultralytics_nms(
    seed: int,
    nc: int,
    anchors: int,
    extra: int,
    conf: float,
    iou: float,
    max_det: int,
    multi_label: bool,
) -> None:
    output = _raw_output(seed, nc, anchors, extra)
    ours = decode_and_nms(output, nc, conf, iou, max_det, multi_label=multi_label, extra=extra)
    theirs = _ultralytics(output, nc, multi_label, conf=conf, iou=iou, max_det=max_det)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("iou", [0.5, 0.6, 0.7])
def test_nms_agrees_where_overlaps_and_scores_tie(iou: float) -> None:
    output = _raw_output(3, 2, 300, grid=10.0)
    ours = decode_and_nms(output, 2, 0.2, iou, 300)
    theirs = _ultralytics(output, 2, False, conf=0.2, iou=iou, max_det=300)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("columns", [6, 38])
def test_end_to_end_head_is_only_cut(columns: int) -> None:
    rng = np.random.default_rng(0)
    output = rng.uniform(0, 1, (1, 300, columns)).astype(np.float32)
    output[0, :, 4] = np.sort(output[0, :, 4])[::-1]
    ours = decode_and_nms(output, 7, 0.25, 0.7, 20, extra=columns - 6)
    theirs = non_max_suppression(torch.from_numpy(output), 0.25, 0.7, max_det=20, end2end=True)[0]
    np.testing.assert_array_equal(ours, theirs.numpy())
    assert ours.shape == (20, columns)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30))
def test_masks_are_those_of_ultralytics_validator(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(1, 32, 16, 24)).astype(np.float32)
    corner, size = rng.uniform(-8, 80, (count, 2)), rng.uniform(0, 60, (count, 2))
    rest = rng.normal(size=(count, 34))
    detections = np.hstack((corner, corner + size, rest)).astype(np.float32)
    ours = build_masks(prototypes, detections, (64, 96))
    rows = torch.from_numpy(detections)
    theirs = process_mask(torch.from_numpy(prototypes[0]), rows[:, 6:], rows[:, :4], (64, 96))
    # Two libraries add 32 products in another order: a sum at 0 may fall on either side.
    assert ours.shape == theirs.shape
    assert (ours != theirs.numpy().astype(bool)).sum() <= 1
