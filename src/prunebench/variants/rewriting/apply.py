"""Every pass over an exported graph, one after the other."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.common.files import write_atomically
from prunebench.common.records import Rewriting
from prunebench.variants.provenance import REWRITING_KEY
from prunebench.variants.rewriting import boxes, distribution, halves, upsampling
from prunebench.variants.rewriting.editing import Graph, Unknown

if TYPE_CHECKING:
    import onnx

# Halves come before what is upsampled in front of them, so that each half is a convolution there.
PASSES = {
    "distribution": distribution,
    "boxes": boxes,
    "halves": halves,
    "upsampling": upsampling,
}


def rewrite_file(path: Path, passes: Collection[str] = tuple(PASSES)) -> Rewriting:
    """Rewrite an exported file in its place by these passes; its metadata says how."""
    import onnx

    model, rewriting = rewritten(onnx.load(path), passes)
    model.metadata_props.add(key=REWRITING_KEY, value=rewriting.model_dump_json())
    write_atomically(path, model.SerializeToString(deterministic=True))
    return rewriting


def for_integers(model: onnx.ModelProto) -> onnx.ModelProto:
    """A rewritten model without what is slower on integers; its metadata says so."""
    whole = halves.undo(model)
    for entry in whole.metadata_props:
        if entry.key == REWRITING_KEY:
            left = Rewriting.model_validate_json(entry.value).on_integers
            entry.value = left.model_dump_json()
    return whole


def rewritten(
    model: onnx.ModelProto, passes: Collection[str] = tuple(PASSES)
) -> tuple[onnx.ModelProto, Rewriting]:
    """A model that computes the same in less time, and what was done; its metadata is kept."""
    graph = Graph(model)
    applied = {name: one for name, one in PASSES.items() if name in passes}
    done, unknown = dict.fromkeys(applied, 0), dict.fromkeys(applied, 0)
    for name, one in applied.items():
        for place in list(one.places(graph)):
            try:
                with graph.all_or_nothing():
                    one.rewrite(graph, place)
                done[name] += 1
            except Unknown:
                unknown[name] += 1
    slower = tuple(name for name in PASSES if name not in applied)
    return graph.finished(), Rewriting(done=done, unknown=unknown, slower=slower)
