"""The same images with each variant's detections beside the ground truth, worst changes first."""

from __future__ import annotations

from prunebench.results.messages.catalogue import Messages
from prunebench.results.report.document import Block, Mark, Paragraph, Pictures, Section, Shot
from prunebench.results.report.gallery import Box, Scene, gallery_of
from prunebench.results.report.stored import StoredRun


def gallery(run: StoredRun, m: Messages) -> Section | None:
    """Pictures of what changed, ``None`` where there are none."""
    found = gallery_of(run)
    if found is None:
        return None
    confidence = f"{run.config.latency.confidence:g}"
    blocks: list[Block] = [Paragraph(m("gallery.how", confidence=confidence))]
    blocks += [_pictures(scene, index, m) for index, scene in enumerate(found.scenes, start=1)]
    return Section("gallery", m("gallery.title"), tuple(blocks))


def _pictures(scene: Scene, index: int, m: Messages) -> Pictures:
    truth = tuple(_mark(box) for box in scene.truth)
    objects = len(truth)
    shots = [Shot(m("gallery.truth", objects=objects), truth)]
    for variant, boxes in scene.found.items():
        hits = sum(box.correct is True for box in boxes)
        caption = m(
            "gallery.shot", name=variant, hits=hits, objects=objects, false=len(boxes) - hits
        )
        shots.append(Shot(caption, (*truth, *(_mark(box) for box in boxes))))
    return Pictures(
        id=f"scene-{index}",
        title=scene.name,
        jpeg=scene.jpeg,
        width=scene.width,
        height=scene.height,
        shots=tuple(shots),
    )


def _mark(box: Box) -> Mark:
    look = "truth" if box.correct is None else "hit" if box.correct else "false"
    text = box.name if box.score is None else f"{box.name} {box.score:.2f}"
    return Mark(look, text, box.x, box.y, box.width, box.height)
