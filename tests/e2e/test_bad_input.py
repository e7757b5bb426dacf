"""Every kind of bad input: one clear sentence, exit code 2, nothing half written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from flows import cli
from prunebench.common.sole_user import sole_user
from prunebench.data.scenes import generate_scenes
from tests.conftest import ASSET, ROOT, tiny_values

Outcome = tuple[int, str]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run the console script in this process; gives its exit code and standard error."""

    def call(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["prunebench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        code = caught.value.code
        return (code if isinstance(code, int) else 1), capsys.readouterr().err

    return call


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=4, test=4)


def config_file(folder: Path, **changes: object) -> Path:
    path = folder / "config.yaml"
    values = {**tiny_values(folder / "out"), **changes}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def sentence_of(stderr: str) -> str:
    """The error's line; progress lines may stand before it."""
    text = " ".join(line.strip() for line in stderr.splitlines())
    return text[text.index("prunebench: ") :]


def assert_refused(outcome: Outcome, *parts: str) -> None:
    code, stderr = outcome
    sentence = sentence_of(stderr)
    for part in parts:
        assert part in sentence
    assert "Traceback" not in stderr
    assert code == 2


MAKER = """
import sys
from ultralytics import RTDETR, YOLO
model = YOLO(sys.argv[1])
model.fuse()
model.save("fused.pt")
RTDETR("yolov8-rtdetr.yaml").save("rtdetr.pt")
YOLO("yolov9c.yaml").save("halves.pt")
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints written with plain Ultralytics, one of each kind that is not taken."""
    folder = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, "-c", MAKER, str(ASSET)], cwd=folder, check=True)
    return folder


def checkpoint_of(folder: Path, kind: str, made: Path) -> Path:
    """A file that is no usable checkpoint, of one kind."""
    path = folder / "model.pt"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no checkpoint\n")
    elif kind == "truncated":
        path.write_bytes(ASSET.read_bytes()[:100_000])
    elif kind != "missing":
        shutil.copyfile(made / f"{kind}.pt", path)
    return path


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("missing", "does not exist"),
        ("empty", "empty"),
        ("text", "text file"),
        ("truncated", "truncated"),
        ("fused", "folded"),
        ("rtdetr", "RTDETRDecoder"),
        ("halves", "model.3 (ADown)"),
    ],
)
def test_a_wrong_checkpoint(
    command: Callable[..., Outcome], tmp_path: Path, made: Path, kind: str, part: str
):
    model = checkpoint_of(tmp_path, kind, made)
    outcome = command("run", "--config", config_file(tmp_path, model=str(model)))
    assert_refused(outcome, "model.pt", part)
    assert list(tmp_path.glob("out/[0-9]*")) == []


def data_with(scenes: Path, folder: Path, kind: str) -> Path:
    """A copy of the scenes' YAML, or of the scenes, with one thing wrong."""
    values = yaml.safe_load(scenes.read_text())
    root = Path(values.get("path", scenes.parent))
    copy = folder / "data"
    subprocess.run(["cp", "-r", str(root), str(copy)], check=True)
    values["path"] = str(copy)
    labels = sorted((copy / "labels" / "val").glob("*.txt"))
    if kind == "missing split":
        del values["val"]
    elif kind == "no labels":
        for path in labels:
            path.unlink()
    elif kind == "class out of range":
        labels[0].write_text("9 0.5 0.5 0.1 0.1\n")
    elif kind == "unparsable label":
        labels[0].write_text("0 0.5 half 0.1 0.1\n")
    elif kind == "other names":
        values["names"] = {i: f"thing {i}" for i in range(7)}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.usefixtures("given_here")
@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("missing split", "val"),
        ("no labels", "label"),
        ("class out of range", "class"),
        ("unparsable label", "not made of numbers"),
        ("other names", "thing"),
    ],
)
def test_a_wrong_dataset(
    command: Callable[..., Outcome], tmp_path: Path, scenes: Path, kind: str, part: str
):
    data = data_with(scenes, tmp_path, kind)
    outcome = command("run", "--config", config_file(tmp_path, data=str(data)))
    assert_refused(outcome, part)
    assert list(tmp_path.glob("out/[0-9]*")) == []


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"prun": {}}, ("unknown key prun", "did you mean prune")),
        ({"prune": {"target": 0}}, ("prune.target", "a ratio of 0")),
        ({"prune": {"target": "much"}}, ("prune.target", "'much' is not a target")),
        ({"prune": {"ratio": 0.3}}, ("unknown key prune.ratio", "write prune.target")),
        ({"image": {"height": 180, "width": 320}}, ("image.height", "multiple of 32")),
    ],
)
def test_a_wrong_configuration(
    command: Callable[..., Outcome], tmp_path: Path, changes: dict[str, object], parts: tuple[str]
):
    outcome = command("run", "--config", config_file(tmp_path, **changes))
    assert_refused(outcome, "config.yaml", *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("subcommand", ["run", "plan"])
@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("retrain.epoch=20", ("unknown key retrain.epoch", "did you mean retrain.epochs")),
        ("retrain.epochs=many", ("retrain.epochs", "integer")),
        ("retrain.epochs", ("it is not key=value", "such as prune.target=2x")),
        ("prune.target=[2x", ("prune.target=[2x: the value is not valid YAML",)),
    ],
)
def test_a_wrong_override(
    command: Callable[..., Outcome],
    tmp_path: Path,
    subcommand: str,
    override: str,
    parts: tuple[str],
):
    outcome = command(subcommand, "--config", config_file(tmp_path), "seed=1", override)
    assert_refused(outcome, *parts)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written(command: Callable[..., Outcome], tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    outcome = command("run", "--config", config_file(tmp_path))
    assert_refused(outcome, "is a file", "--out")


def test_a_second_run_in_the_same_folder(command: Callable[..., Outcome], tmp_path: Path):
    file = config_file(tmp_path)
    (tmp_path / "out").mkdir()
    other = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from prunebench.common.sole_user import sole_user\n"
            "with sole_user(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)",
            str(tmp_path / "out"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert_refused(command("run", "--config", file), "another run")
    finally:
        other.kill()
        other.wait()
    with sole_user(tmp_path / "out"):
        pass


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("empty",)),
        ("variant,params\na,1\n", ("size_mb",)),
        ("variant,params,size_mb,map50,fps\na,1,5.0,nan,20\n", ("map50",)),
        ("variant,params,size_mb,map50,fps\na,1,0,0.5,20\n", ("size_mb",)),
        ("variant,params,size_mb,map50,fps\na,1,5.0,0.5,-3\n", ("fps",)),
    ],
)
def test_a_wrong_table(
    command: Callable[..., Outcome], tmp_path: Path, text: str, parts: tuple[str]
):
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert_refused(command("rank", path), "table.csv", *parts)


def test_the_installed_script_gives_the_same_exit_code(tmp_path: Path):
    script = Path(sys.executable).with_name("prunebench")
    done = subprocess.run(
        [script, "run", "--config", "none.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "none.yaml: the configuration file does not exist" in done.stderr
    assert done.stdout == ""


@pytest.mark.usefixtures("given_here")
def test_controls_and_siblings_that_cannot_be_made(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    config = config_file(tmp_path, controls=["resolution"], image={"height": 32, "width": 64})
    assert_refused(command("run", "--config", config), "no input size below 32 x 64")
    config = config_file(tmp_path, quantize={"variants": ["preserving"]})
    assert_refused(command("run", "--config", config), "did you mean preserving-1")
    config = config_file(tmp_path, model="yolov8n-p2.yaml", controls=["smaller"])
    assert_refused(command("run", "--config", config), "yolov8n-p2 is no stock detection network")
    assert not (tmp_path / "out" / ".steps").exists()


def test_a_baseline_of_objects_is_not_trained_on_classes(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    for split in ("train", "val"):
        (tmp_path / "data" / split / "a").mkdir(parents=True)
    given = ("--data", tmp_path / "data", "--data-dir", tmp_path / "kept", "--out", "base.pt")
    outcome = command("baseline", "--model", "yolov8n.yaml", *given)
    assert_refused(outcome, "the class of each image alone, but the model finds objects")
