"""How many times as fast as the plain float export is each way to a faster file, in one run?

    pip install --target FOLDER nncf==3.4.0 openvino==2026.4.1
    python benchmarks/one_point.py [--packages FOLDER] [--imgsz 96x160 192x320]
                                   [--recipes NAME ...] [--rounds 8] [--quick]

The recipe of ``configs/fastest.yaml`` beside the shipped network in INT8 by this project and by
NNCF (in onnxruntime; left out without ``--packages``), and beside the networks that the default and
the peers' recipes of ``frontier.py`` prune to 2x, in float and in INT8. Nothing is retrained, as
speed does not depend on it: ``frontier.py`` shows what each loses. One thread, all files in
shuffled rounds. Exit status 1 where the recipe is not six times as fast.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frontier import FASTEST, RECIPES
from int8_peers import by_nncf
from kit import CHECKPOINT, OPSET, host_line, in_workspace, model_times, print_claims, show, size
from rewriting import LEVEL, SESSION, int8, told
from rich.console import Console
from rich.table import Table

from prunebench.common.records import Interval
from prunebench.common.sole_user import sole_user
from prunebench.config.loading import Config, load_config, parse_config
from prunebench.config.sections import AccuracyConfig, QuantizeConfig
from prunebench.data.dataset import images_of, resolve_dataset
from prunebench.experiment.inputs import output_folder
from prunebench.experiment.make import export_variant, make_variant
from prunebench.experiment.prepare import prepare
from prunebench.measuring.inference import OnnxNetwork
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.steps.events import listening
from prunebench.variants.export import export_onnx
from prunebench.variants.retraining.activation import with_activation
from prunebench.variants.rewriting.apply import rewrite_file

PLAIN, RECIPE, ENOUGH = "plain float export", "fastest", 6.0
DATA = "scenes:train=128,val=8,test=8"


def pruned(config: Config) -> Path:
    """The checkpoint of a configuration's pruned network."""
    with sole_user(output_folder(config)), listening(show):
        experiment = prepare(config)
        first, second = experiment.variants[:2]
        baseline = make_variant(experiment, first, None, None, show)
        baseline = export_variant(experiment, baseline, show)
        made = make_variant(experiment, second, baseline, baseline, show)
    return experiment.run_folder / made.checkpoint.path


def checkpoints(
    folder: Path, imgsz: tuple[int, int], recipes: list[str]
) -> Iterator[tuple[str, Path]]:
    """Each network with what is told of it."""
    shared = {"data": DATA, "out": str(folder / "runs"), "latency": {"threads": [1]}}
    image = {"height": imgsz[0], "width": imgsz[1]}
    yield "unpruned", CHECKPOINT
    for name in recipes:
        prune = {"target": "2x", **RECIPES[name]}
        config = {"model": str(CHECKPOINT), "prune": prune, "image": image, **shared}
        yield name, pruned(parse_config(config))
    overrides = {f"image.{side}": value for side, value in image.items()}
    overrides |= {"data": DATA, "out": shared["out"]}
    own = pruned(load_config(FASTEST, overrides=overrides, environ={}))
    yield RECIPE, with_activation(own, "relu", folder / "fastest.pt")


def compare(
    imgsz: tuple[int, int], folder: Path, recipes: list[str], packages: bool, rounds: int
) -> dict[str, Interval]:
    """Make every file and measure all of them: times as fast by file."""
    scenes = resolve_dataset(DATA, cache_dir=folder / "data")
    images = [*images_of(scenes, "train")][: QuantizeConfig().calibration_images]
    files: dict[str, Path] = {}
    for name, checkpoint in checkpoints(folder, imgsz, recipes):
        own = Path(tempfile.mkdtemp(dir=folder))
        plain = export_onnx(checkpoint, own, imgsz, opset=OPSET).rename(own / "plain.onnx")
        rewritten = own / "float.onnx"
        rewritten.write_bytes(plain.read_bytes())
        rewrite_file(rewritten)
        if not files:
            files[PLAIN] = plain
        files[f"{name}, float"] = rewritten
        files[f"{name}, INT8"] = int8(rewritten, imgsz, own / "int8", images)
    if packages:
        judged = AccuracyConfig().model_dump(include={"confidence", "iou", "max_det"})
        shared: dict[str, Any] = {"names": dict(scenes.names), "imgsz": imgsz, "session": SESSION}
        train, val = ([*map(str, one)] for one in (images, images_of(scenes, "val")))
        nncf = by_nncf(files[PLAIN], OnnxNetwork, train, val, shared | judged)
        files["unpruned, INT8 by NNCF"] = nncf
    named = {name: f"file-{index}" for index, name in enumerate(files)}
    times = model_times(
        {named[name]: path for name, path in files.items()}, folder / "latency", rounds=rounds
    )
    base = times[named[PLAIN]]
    return {name: ratio_interval(base, times[named[name]], LEVEL) for name in files}


def main(folder: Path, console: Console) -> int:
    """Compare at every size, print the table and the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", help="where NNCF is")
    parser.add_argument("--imgsz", nargs="+", type=size, default=[(96, 160), (192, 320)])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves no claim")
    asked = parser.parse_args()
    if asked.packages is not None:
        sys.path.append(asked.packages)  # Behind this environment's own versions of the rest.
    sizes = [(64, 128)] if asked.quick else asked.imgsz
    recipes = ["uniform magnitude"] if asked.quick else asked.recipes
    rounds = 3 if asked.quick else asked.rounds
    found = {}
    for imgsz in sizes:
        work = folder / "{}x{}".format(*imgsz)
        work.mkdir()
        found[imgsz] = compare(imgsz, work, recipes, asked.packages is not None, rounds)
    title = f"Times as fast as the plain float export, one thread; {host_line()}"
    table = Table("file", title=title, title_justify="left")
    for imgsz in found:
        table.add_column("{}x{}".format(*imgsz), justify="right")
    for name in next(iter(found.values())):
        table.add_row(name, *(told(times[name]) for times in found.values()))
    console.print(table)
    fastest = f"{RECIPE}, INT8"
    return print_claims(
        console,
        [
            (
                "{}x{}: the recipe in INT8 at least {:g} times as fast".format(*imgsz, ENOUGH),
                told(times[fastest]),
                times[fastest].estimate >= ENOUGH,
            )
            for imgsz, times in found.items()
        ],
    )


if __name__ == "__main__":
    in_workspace(main)
