"""The same images with each variant's detections beside the ground truth, worst changes first."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import document as doc
from prunebench.results.report.gallery import Box, Scene, gallery_of
from prunebench.results.report.keypoints import coloured
from prunebench.results.report.stored import ReportedRun


def gallery(run: ReportedRun, m: Messages) -> doc.Section | None:
    """Pictures of what changed, ``None`` where there are none."""
    found = gallery_of(run)
    if found is None:
        return None
    how = m("gallery.how", confidence=f"{run.config.latency.confidence:g}")
    drawn = _classes if run.ranking.metric == "top1" else _pictures
    pictures = (drawn(scene, index, m) for index, scene in enumerate(found.scenes, start=1))
    if any(scene.keypoints for scene in found.scenes):
        how += " " + m("gallery.dots")
    return doc.section("gallery", m, how, *pictures)


def _classes(scene: Scene, index: int, m: Messages) -> doc.Pictures:
    """The picture above what each variant calls it: a class is of all of it, so none is drawn."""
    told = [m("gallery.class", name=label.name) for label in scene.truth]
    for variant, found in scene.found.items():
        for box in found:
            key = "gallery.right" if box.correct else "gallery.wrong"
            told.append(m(key, variant=variant, name=box.name, score=f"{box.score:.2f}"))
    return _shown(scene, index, [doc.Shot(tuple(told))])


def _pictures(scene: Scene, index: int, m: Messages) -> doc.Pictures:
    truth = tuple(_mark(box, scene) for box in scene.truth)
    objects = len(truth)
    shots = [doc.Shot((m("gallery.truth", objects=objects),), truth)]
    for name, boxes in scene.found.items():
        hits = sum(box.correct is True for box in boxes)
        counts = {"hits": hits, "objects": objects, "false": len(boxes) - hits}
        marks = (*truth, *(_mark(box, scene) for box in boxes))
        shots.append(doc.Shot((m("gallery.shot", name=name, **counts),), marks))
    return _shown(scene, index, shots)


def _shown(scene: Scene, index: int, shots: Sequence[doc.Shot]) -> doc.Pictures:
    return doc.Pictures(
        f"scene-{index}", scene.name, scene.jpeg, scene.width, scene.height, tuple(shots)
    )


def _mark(box: Box, scene: Scene) -> doc.Mark:
    dots, limbs = coloured(box.dots, scene.keypoints)
    look = "truth" if box.correct is None else "hit" if box.correct else "false"
    text = box.name if box.score is None else f"{box.name} {box.score:.2f}"
    return doc.Mark(look, text, box.x, box.y, box.width, box.height, box.outline, limbs, dots)
