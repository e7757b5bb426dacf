"""Datasets as people really bring them: each command's exit code, its sentence, no file touched."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from dataset_kit import BOX, append, cut, make_images, state_of
from PIL import Image

from flows import cli
from tests.conftest import tiny_values


@dataclass(frozen=True)
class Case:
    """A dataset, the commands ``init`` and ``run`` on it, and what they say.

    Attributes:
        make: Writes it into a folder and returns the data YAML.
        init: Exit code of ``init``, and what it says or writes.
        run: Of ``run``, or ``None`` where it would work.
        set: Keys of the configuration.
    """

    name: str
    make: Callable[[Path], Path]
    init: tuple[int, str]
    run: tuple[int, str] | None = None
    set: tuple[str, ...] = ()


def cut_off(split: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        data = make_images(root, suffix="jpg", test="images/test")
        for kind in ("images", "labels"):
            shutil.copytree(root / kind / "val", root / kind / "test")
        cut(root / "images" / split / "1.jpg", 400)
        return data

    return make


def tiny_image(root: Path) -> Path:
    data = make_images(root)
    Image.new("RGB", (9, 40)).save(root / "images" / "val" / "2.png")
    return data


def page_for_an_image(root: Path) -> Path:
    data = make_images(root, suffix="jpg")
    (root / "images" / "train" / "0.jpg").write_text("<html>404</html>")
    return data


def unlabelled_test(root: Path) -> Path:
    data = make_images(root, test="images/test")
    shutil.copytree(root / "images" / "val", root / "images" / "test")
    return data


def listed_but_gone(root: Path) -> Path:
    data = make_images(root, train="train.txt")
    (root / "train.txt").write_text("./images/train/0.png\n./images/train/gone.png\n")
    return data


def with_remarks_of_a_phone(root: Path) -> Path:
    data = make_images(root, turned=True, suffix="jpg")
    append(root / "images" / "train" / "0.jpg", b"\0\0")
    return data


def with_a_bad_label(root: Path) -> Path:
    data = make_images(root)
    (root / "labels" / "train" / "0.txt").write_text(BOX + "0 160 90 20 20\n")
    return data


CASES = (
    *(
        Case(
            f"a JPEG of the {split} split cut off",
            cut_off(split),
            (0, f"# 1 image cannot be used: images/{split}/1.jpg cannot be decoded."),
            (2, f"1 image cannot be used: images/{split}/1.jpg cannot be decoded; restore"),
        )
        for split in ("train", "val", "test")
    ),
    Case(
        "an image of 9 pixels",
        tiny_image,
        (0, "images/val/2.png has 9 x 40 pixels, fewer than 10 a side"),
        (2, "images/val/2.png has 9 x 40 pixels, fewer than 10 a side; restore or remove it"),
    ),
    Case(
        "a web page for an image",
        page_for_an_image,
        (0, "images/train/0.jpg cannot be decoded"),
        (2, "images/train/0.jpg cannot be decoded"),
    ),
    Case(
        "a listed image that is gone",
        listed_but_gone,
        (0, "images/train/gone.png does not exist"),
        (2, "images/train/gone.png does not exist"),
    ),
    Case(
        "a test split that was not exported",
        lambda root: make_images(root, test="../test/images"),
        (0, "no image of the test split is there, so accuracy comes from val"),
    ),
    Case(
        "that split asked for",
        lambda root: make_images(root, test="../test/images"),
        (0, "split: val"),
        (2, "the path of the test split does not exist"),
        ("accuracy.split=test",),
    ),
    Case(
        "a test split without labels",
        unlabelled_test,
        (0, "no image of the test split is labelled, so accuracy comes from val"),
    ),
    Case(
        "that split asked for, without labels",
        unlabelled_test,
        (0, "split: val"),
        (2, "the test split has no labelled image"),
        ("accuracy.split=test",),
    ),
    Case(
        "ids as text",
        lambda root: make_images(root, names={"0": "ball", "1": "bat"}),
        (0, "typically 96 x 36 (W x H)"),
    ),
    Case(
        "classes of one name",
        lambda root: make_images(root, names=["", ".", "-", "-"]),
        (0, "typically 96 x 36 (W x H)"),
    ),
    Case(
        "ids that leave one out",
        lambda root: make_images(root, names={"0": "ball", "2": "bat"}),
        (2, "the class ids in names are not 0, 1, 2 and so on; number them anew"),
    ),
    Case(
        "images that lie on their side, with bytes behind their end",
        with_remarks_of_a_phone,
        (0, "image: {height: 96, width: 64}"),
    ),
    Case(
        "a label in pixels",
        with_a_bad_label,
        (2, "0.txt, line 2: the coordinate 160 lies outside 0..1"),
        (2, "0.txt, line 2: the coordinate 160 lies outside 0..1"),
    ),
)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Exit code and output of a command line, run in this process and in a folder of its own."""
    folder = tmp_path / "work"
    folder.mkdir()

    def call(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["prunebench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        code = caught.value.code
        said = " ".join(f"{captured.out} {captured.err}".split())
        return (code if isinstance(code, int) else int(code is not None)), said

    return call


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_init(case: Case, command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    data = case.make(tmp_path / "data")
    before = state_of(tmp_path / "data")
    code, said = command("init", "--model", "yolov8n.yaml", "--data", data)
    file = tmp_path / "work" / "prunebench.yaml"
    assert "Traceback" not in said
    assert code == case.init[0]
    assert file.is_file() == (code == 0)
    written = " ".join(file.read_text().split()) if code == 0 else said
    assert case.init[1] in written
    assert state_of(tmp_path / "data") == before


@pytest.mark.usefixtures("given_here")
@pytest.mark.parametrize("case", [c for c in CASES if c.run], ids=lambda case: case.name)
def test_run(case: Case, command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    data = case.make(tmp_path / "data")
    before = state_of(tmp_path / "data")
    values = tiny_values(tmp_path / "out", model="yolov8n.yaml", data=str(data))
    (tmp_path / "work" / "c.yaml").write_text(yaml.safe_dump(values))
    code, said = command("run", "--config", "c.yaml", *case.set)
    assert case.run is not None
    assert (code, "Traceback" in said) == (case.run[0], False)
    assert case.run[1] in said
    assert not (tmp_path / "out").exists()
    assert state_of(tmp_path / "data") == before
