"""How long does a start take on a large dataset?

    python benchmarks/large_dataset.py [--quick]

100,000 JPEG images of 320x180 pixels with a label file each. A start finds, checks and digests the
dataset, as every run does before it works, in a process of its own. The first reads every file and
decodes every image, the second reads those that changed: none, then one image in a hundred. Before,
one photograph's worth of noise is decoded in two sizes, whole and as the check does it. About four
minutes; exit status 1 where the second start takes more than 5 s.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from kit import arguments, in_workspace, print_claims
from rich.console import Console
from rich.table import Table

from prunebench.data.file_memo import TICK_NS
from prunebench.data.images import flaw_of

IMAGES = 100_000
HW = 180, 320
SIZES = (480, 640), (1080, 1920)
REPEATS = 30
CHANGED = 100
MOST_SECONDS = 5.0

START = """
import sys, time
from pathlib import Path
began = time.monotonic()
from prunebench.data.check import check_dataset
from prunebench.data.dataset import dataset_digest, resolve_dataset
from prunebench.data.file_memo import remembering
cache = Path(sys.argv[2])
dataset = resolve_dataset(sys.argv[1], cache_dir=cache)
with remembering(dataset.yaml, cache) as memo:
    check_dataset(dataset, memo=memo)
    dataset_digest(dataset, memo)
print(time.monotonic() - began, time.process_time())
"""


def main(folder: Path, console: Console) -> int:
    """Start three times and print what each took."""
    count = 1000 if arguments(__doc__).quick else IMAGES
    decoding = Table("JPEG", "kB", "whole, ms", "checked, ms", title="one image, one core")
    for hw in (HW, *SIZES):
        decoding.add_row(*_decoding(hw))
    console.print(decoding)
    data_yaml = _write(folder / "data", count)
    time.sleep(TICK_NS / 1e9)
    first, second = _start(data_yaml, folder), _start(data_yaml, folder)
    for image in sorted((folder / "data" / "images" / "train").iterdir())[::CHANGED]:
        image.write_bytes(image.read_bytes() + b"changed")
    third = _start(data_yaml, folder)
    table = Table("start", "wall s", "processor s", title=f"{count:,} images and labels")
    for name, (wall, processor) in (
        ("first", first),
        ("second, nothing changed", second),
        (f"third, one image in {CHANGED} changed", third),
    ):
        table.add_row(name, f"{wall:.1f}", f"{processor:.1f}")
    console.print(table)
    asked = f"second start within {MOST_SECONDS:g} s"
    return print_claims(console, [(asked, f"{second[0]:.1f} s", second[0] <= MOST_SECONDS)])


def _start(data_yaml: Path, folder: Path) -> tuple[float, float]:
    """Wall and processor time of one start, in seconds."""
    command = [sys.executable, "-c", START, str(data_yaml), str(folder / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def _jpeg(hw: tuple[int, int]) -> bytes:
    """A JPEG with as much detail as a photograph: noise of eight pixels a grain."""
    height, width = hw
    grains = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    image = cv2.resize(grains, (width, height), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", image)[1])


def _decoding(hw: tuple[int, int]) -> tuple[str, str, str, str]:
    """Size, kilobytes, and milliseconds of one core: of the whole image, and of the check."""
    content = _jpeg(hw)
    took = []
    for decode in (
        lambda: cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR),
        lambda: flaw_of(content, "a.jpg"),
    ):
        began = time.process_time()
        for _ in range(REPEATS):
            decode()
        took.append(f"{(time.process_time() - began) / REPEATS * 1e3:.1f}")
    return (f"{hw[1]}x{hw[0]}", f"{len(content) / 1e3:.0f}", *took)


def _write(root: Path, count: int) -> Path:
    picture = _jpeg(HW)
    for split, images in (("train", count * 9 // 10), ("val", count - count * 9 // 10)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(images):
            # Bytes behind its end make every file another one.
            image = root / "images" / split / f"{index:06d}.jpg"
            image.write_bytes(picture + b"%d" % index)
            lines = "".join(f"{index % 7} 0.{i + 1} 0.5 0.1 0.2\n" for i in range(index % 5))
            (root / "labels" / split / f"{index:06d}.txt").write_text(lines, encoding="utf-8")
    path = root / "data.yaml"
    names = [f"class {index}" for index in range(7)]
    path.write_text(f"train: images/train\nval: images/val\nnames: {names}\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    in_workspace(main)
