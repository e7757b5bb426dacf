"""Whether a changed onnxruntime is the reason of a slowdown: both versions on the same file."""

from __future__ import annotations

import json
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import onnxruntime
import pytest
import yaml
from latency_kit import write_detector
from report_kit import MIXED, make_run

from prunebench.common.errors import InputError
from prunebench.common.records import FileRef, Interval
from prunebench.operating.onnxruntime_check import (
    installed,
    suspect_onnxruntime,
    suspicion_sentence,
)
from prunebench.results.history.compare import RunChange, RunComparison
from prunebench.results.run_folder import read_variants, save_variant

NOW = version("onnxruntime")
OTHER = "9.9.9"

ANOTHER_VERSION = """
import time
__path__ = [{real!r}]
exec(compile(open({real!r} + "/__init__.py").read(), "onnxruntime", "exec"))
__version__ = {name!r}
_Session = InferenceSession

class InferenceSession(_Session):
    def run(self, *given):
        began = time.perf_counter()
        outputs = super().run(*given)
        until = began + {factor} * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return outputs
"""


def put_another_version(work: Path, factor: float) -> None:
    """The installed onnxruntime under another number, each inference ``factor`` times as long."""
    package = work / "onnxruntime" / OTHER / "onnxruntime"
    package.mkdir(parents=True)
    real = str(Path(onnxruntime.__file__).parent)
    text = ANOTHER_VERSION.format(real=real, name=OTHER, factor=factor)
    (package / "__init__.py").write_text(text)


def comparison(verdict: str, onnxruntime: tuple[str, str]) -> RunComparison:
    change = RunChange.model_validate(
        {
            "variant": "pruned",
            "threads": 1,
            "same_file": True,
            "latency": Interval(estimate=30, low=25, high=35),
            "map50": 0.0,
            "p_corrected": 0.001,
            "verdict": verdict,
        }
    )
    return RunComparison(
        before="day-1",
        after="day-2",
        onnxruntime=onnxruntime,
        host_differences=(),
        changes=(change,),
        missing=(),
    )


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run whose pruned variant is a small real network."""
    folder = tmp_path / "run"
    make_run(folder, MIXED, rounds=8)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["latency"] |= {"seconds": 0.1, "rounds_min": 6, "rounds_max": 12, "paced": False}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    network = write_detector(folder / "small.onnx", depth=6).onnx
    pruned = next(v for v in read_variants(folder) if v.name == "pruned")
    assert pruned.exported is not None
    exported = pruned.exported.model_copy(update={"onnx": FileRef.of(network, folder)})
    save_variant(folder, pruned.model_copy(update={"exported": exported}))
    return folder


def test_a_version_that_slows_the_same_file_is_the_suspect(run: Path, tmp_path: Path) -> None:
    put_another_version(tmp_path / "work", factor=1.5)
    slower = comparison("slower", (NOW, OTHER))
    (found,) = suspect_onnxruntime(slower, run, tmp_path / "work", lambda event: None)
    assert found.suspect
    # 50 % were built in; beside other tests the waiting loop overshoots.
    assert 30 < found.slower.estimate < 90
    assert suspicion_sentence(found).startswith(f"onnxruntime {OTHER} is the suspect")
    assert json.loads(found.model_dump_json())["before"] == NOW


def test_a_version_as_fast_is_no_suspect(run: Path, tmp_path: Path) -> None:
    put_another_version(tmp_path / "work", factor=1.0)
    slower = comparison("slower", (OTHER, NOW))
    (found,) = suspect_onnxruntime(slower, run, tmp_path / "work", lambda event: None)
    assert not found.suspect
    assert f"onnxruntime {NOW} is not the suspect" in suspicion_sentence(found)


@pytest.mark.parametrize(
    ("verdict", "versions"), [("no change shown", (NOW, OTHER)), ("slower", (NOW, NOW))]
)
def test_nothing_is_measured_without_a_slowdown_or_a_change(
    run: Path, tmp_path: Path, verdict: str, versions: tuple[str, str]
) -> None:
    work = tmp_path / "work"
    found = suspect_onnxruntime(comparison(verdict, versions), run, work, lambda event: None)
    assert found == ()
    assert not work.exists()


def test_pip_installs_a_version_beside_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "wheels" / "onnxruntime-0.0.1-py3-none-any.whl"
    wheel.parent.mkdir()
    info = "onnxruntime-0.0.1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("onnxruntime/__init__.py", "")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: onnxruntime\nVersion: 0.0.1\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    folder = installed("0.0.1", tmp_path / "versions", lambda event: None)
    assert folder == tmp_path / "versions" / "0.0.1"
    assert (folder / "onnxruntime" / "__init__.py").is_file()
    assert installed(NOW, tmp_path / "versions", lambda event: None) is None
    with pytest.raises(InputError, match=r"onnxruntime 0\.0\.2 cannot be installed beside"):
        installed("0.0.2", tmp_path / "versions", lambda event: None)
    assert sorted(path.name for path in (tmp_path / "versions").iterdir()) == ["0.0.1"]
