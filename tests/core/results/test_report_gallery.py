"""The report's pictures: which images they show, and what the exported files find on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from report_kit import CLASSES, IMAGES, MIXED, make_run
from ultralytics.utils.plotting import Annotator, colors

from prunebench.common.records import FileRef
from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import document as doc
from prunebench.results.report.build import build_report
from prunebench.results.report.gallery import GALLERY_FILE, changed_images, gallery_of
from prunebench.results.report.keypoints import PALETTE, coloured
from prunebench.results.report.render import to_html, to_markdown
from prunebench.results.report.sections.gallery import gallery
from prunebench.results.report.stored import ReportedRun, read_stored_run
from prunebench.results.run_folder import save_variant

HEIGHT, WIDTH = 192, 320
HIT = (100.0, 60.0, 40.0, 20.0)
MISS = (250.0, 150.0, 30.0, 30.0)


def write_network(
    path: Path,
    boxes: list[tuple[float, float, float, float]],
    hw: tuple[int, int] = (HEIGHT, WIDTH),
) -> None:
    """An ONNX file that finds ``boxes`` (centre, size) of the first class on every image."""
    output = np.zeros((1, 4 + len(CLASSES), len(boxes)), dtype=np.float32)
    for index, box in enumerate(boxes):
        output[0, :4, index] = box
        output[0, 4, index] = 0.9
    shape = [1, 3, *hw]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMin", ["images"], ["low"], keepdims=0),
            helper.make_node("Mul", ["low", "zero"], ["nothing"]),
            helper.make_node("Add", ["fixed", "nothing"], ["output0"]),
        ],
        "fixed",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(output.shape))],
        [
            numpy_helper.from_array(output, "fixed"),
            numpy_helper.from_array(np.zeros((), dtype=np.float32), "zero"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


@pytest.fixture
def run(tmp_path: Path) -> ReportedRun:
    """A run whose images exist and whose exported files can be run.

    The baseline finds the labelled object, the pruned variant something else.
    """
    folder = tmp_path / "run"
    make_run(folder, MIXED[:2], threads=(1,), rounds=4, frames=4)
    data = tmp_path / "data"
    for part in ("images", "labels"):
        (data / part).mkdir(parents=True)
    x, y, width, height = HIT
    label = f"0 {x / WIDTH} {(y - 6) / 180} {width / WIDTH} {height / 180}\n"
    paths = [data / "images" / f"scene<{index}>.png" for index in range(IMAGES)]
    for path in paths:
        cv2.imwrite(str(path), np.full((180, WIDTH, 3), 90, dtype=np.uint8))
        (data / "labels" / f"{path.stem}.txt").write_text(label)
    for variant in read_stored_run(folder).variants:
        home = folder / "variants" / variant.name
        with np.load(home / "detections.npz") as arrays:
            values = dict(arrays)
        np.savez(home / "detections.npz", **values, paths=np.array([str(p) for p in paths]))
        write_network(home / "model.onnx", [HIT] if variant.parent is None else [MISS])
        assert variant.exported is not None
        assert variant.accuracy is not None
        onnx_file = FileRef.of(home / "model.onnx", folder)
        found = FileRef.of(home / "detections.npz", folder)
        known = {
            "exported": variant.exported.model_copy(update={"onnx": onnx_file}),
            "accuracy": variant.accuracy.model_copy(update={"detections": found}),
        }
        save_variant(folder, variant.model_copy(update=known))
    return read_stored_run(folder)


def test_the_images_with_most_losses_come_first(run: ReportedRun) -> None:
    chosen = [path.name for path in changed_images(run, run.variants)]
    assert len(chosen) == 4
    found = {}
    for variant in run.variants:
        with np.load(run.folder / "variants" / variant.name / "detections.npz") as arrays:
            hits = arrays["tp"][:, 0] & (arrays["confidence"] > 0.25)
            found[variant.name] = np.bincount(arrays["image"][hits], minlength=IMAGES)
    lost = np.maximum(found["baseline"] - found["pruned"], 0)
    losses = [int(lost[int(name[6:-5])]) for name in chosen]
    assert losses == sorted(lost.tolist(), reverse=True)[:4]


def test_boxes_lie_in_the_letterbox_beside_the_labels(run: ReportedRun) -> None:
    gallery = gallery_of(run)
    assert gallery is not None
    scene = gallery.scenes[0]
    (truth,) = scene.truth
    (hit,) = scene.found["baseline"]
    (miss,) = scene.found["pruned"]
    assert (hit.x, hit.y, hit.width, hit.height) == (80, 50, 40, 20)
    assert (truth.x, truth.y) == pytest.approx((hit.x, hit.y), abs=0.1)
    assert (truth.width, truth.height) == pytest.approx((hit.width, hit.height), abs=0.1)
    assert (hit.correct, miss.correct) == (True, False)
    assert hit.score == 0.9


def test_pictures_say_the_same_in_words(run: ReportedRun) -> None:
    build_report(run.folder)
    markdown = (run.folder / "report.md").read_text(encoding="utf-8")
    html = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "- baseline: 1 of 1 found, 0 false" in markdown
    assert "- pruned: 0 of 1 found, 1 false" in markdown
    assert html.count("data:image/jpeg") == 4
    assert html.count('<rect class="hit"') == 4
    assert html.count('<rect class="false"') == 4
    assert "scene<" not in html


def test_keypoints_are_drawn_and_explained(run: ReportedRun) -> None:
    kept = gallery_of(run)
    assert kept is not None
    build_report(run.folder)
    assert "keypoints" not in (run.folder / "report.md").read_text(encoding="utf-8")
    scenes = []
    for scene in kept.scenes:
        dots = ((0, 7.0, 9.0), (2, 5.0, 4.0))
        truth = tuple(box.model_copy(update={"dots": dots}) for box in scene.truth)
        scenes.append(scene.model_copy(update={"truth": truth, "keypoints": 3}))
    posed = kept.model_copy(update={"scenes": tuple(scenes)})
    (run.folder / GALLERY_FILE).write_text(posed.model_dump_json())
    build_report(run.folder)
    # The labels of four scenes are drawn alone and below each variant's detections.
    html = (run.folder / "report.html").read_text(encoding="utf-8")
    for place, x, y in dots:
        at = f'style="--of: {PALETTE[place]}" cx="{x}" cy="{y}"'
        assert html.count(f'<circle class="truth" {at}') == 4 * 3
    assert "<line" not in html
    assert "keypoints" in (run.folder / "report.md").read_text(encoding="utf-8")


def test_keypoints_have_the_colours_of_ultralytics() -> None:
    annotator = Annotator(np.zeros((8, 8, 3), dtype=np.uint8))

    def hexadecimal(*colours: np.ndarray) -> list[str]:
        return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colours]

    person = [(place, float(place), 0.0) for place in range(17)]
    dots, limbs = coloured(person, 17)
    assert [dot.colour for dot in dots] == hexadecimal(*annotator.kpt_color)
    assert [[int(limb.x1) + 1, int(limb.x2) + 1] for limb in limbs] == annotator.skeleton
    assert [limb.colour for limb in limbs] == hexadecimal(*annotator.limb_color)
    # Without an ankle its limb is gone.
    assert [limb.colour for limb in coloured(person[:-1], 17)[1]] == hexadecimal(
        *(
            c
            for c, ends in zip(annotator.limb_color, annotator.skeleton, strict=True)
            if 17 not in ends
        )
    )
    others, none = coloured([(place, 0.0, 0.0) for place in range(1, 30)], 30)
    assert none == ()
    assert [dot.colour for dot in others] == hexadecimal(*(colors(i) for i in range(1, 30)))


def test_a_class_of_all_of_a_picture_is_said_below_it(run: ReportedRun) -> None:
    kept = gallery_of(run)
    assert kept is not None
    m = Messages(metric="top1")
    ranking = run.ranking.model_copy(update={"metric": "top1"})
    outcome = run.outcome.model_copy(update={"rankings": (ranking,)})
    section = gallery(replace(run, outcome=outcome), m)
    assert section is not None
    pictures = [block for block in section.blocks if isinstance(block, doc.Pictures)]
    (shot,) = pictures[0].shots
    assert shot.marks == ()
    name = CLASSES[0]
    assert shot.captions == (
        f"label: {name}",
        f"baseline: {name} 0.90, right",
        f"pruned: {name} 0.90, wrong",
    )
    page = doc.Document(m.lang, "", "", (section,))
    assert f"label: {name}<br>baseline: {name} 0.90, right<br>" in to_html(page, m)
    assert f"- label: {name}\n- baseline: {name} 0.90, right\n" in to_markdown(page, m)


def test_pictures_are_kept_when_the_images_are_gone(run: ReportedRun) -> None:
    first = gallery_of(run)
    for path in changed_images(run, run.variants):
        path.unlink()
    assert gallery_of(run) == first
    (run.folder / GALLERY_FILE).unlink()
    assert gallery_of(run) is None
    build_report(run.folder)
    assert "pictures" not in (run.folder / "report.md").read_text(encoding="utf-8").lower()


def test_boxes_of_a_variant_with_its_own_letterbox_lie_where_the_others_do(
    run: ReportedRun,
) -> None:
    """At half the size every coordinate is half, the padding of 3 rows instead of 6 included."""
    pruned = run.variant("pruned")
    assert pruned is not None
    assert pruned.exported is not None
    half = (HEIGHT // 2, WIDTH // 2)
    path = run.folder / pruned.exported.onnx.path
    x, y, width, height = (value / 2 for value in HIT)
    write_network(path, [(x, y, width, height)], half)
    onnx_file = FileRef.of(path, run.folder)
    exported = pruned.exported.model_copy(update={"onnx": onnx_file, "imgsz": half})
    save_variant(run.folder, pruned.model_copy(update={"exported": exported}))
    gallery = gallery_of(read_stored_run(run.folder))
    assert gallery is not None
    (lower,) = gallery.scenes[0].found["pruned"]
    (whole,) = gallery.scenes[0].found["baseline"]
    assert (lower.x, lower.y, lower.width, lower.height) == pytest.approx(
        (whole.x, whole.y, whole.width, whole.height), abs=0.1
    )
    assert lower.correct is True
