"""Does a kit run on aarch64, and what does onnxruntime do there?

    python benchmarks/aarch64.py

Needs Debian's qemu-user on x86-64, and apt and pip for what it runs: arm64 Python and the aarch64
wheels, put in a folder of their own beside the files in which a board's kernel says what it is.
There a kit measures a tiny run, the shipped network predicts three scenes, and the layout of
convolutions of 33 to 48 channels is looked at. What an emulator takes is no
time of a device, so none is printed. Two minutes; exit status 1 where a claim does not hold.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from kit import IMGSZ, Claim, arguments, export_network, in_workspace, print_claims, write_scenes
from rich.console import Console

from prunebench.config.exporting import ExportConfig
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.agent import RESULTS
from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.host.block import WIDTHS, row_of_convolutions
from prunebench.measuring.host.block_timing import padded_width
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.session import SessionSettings
from prunebench.operating.kit.make import write_kit
from prunebench.operating.kit.results import add_results

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ("numpy", "onnxruntime", "opencv-python-headless")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
CORES = 4
BOARD = "Raspberry Pi 5 Model B Rev 1.0"
FEATURES = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
EMULATED = "cortex-a76"  # The cores of that board.

CPU = f"""\
processor\t: {{}}
BogoMIPS\t: 108.00
Features\t: {FEATURES}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""

THERE = """
import json, sys
from pathlib import Path
import numpy as np
import onnxruntime
from prunebench.measuring.host.block_timing import padded_width
from prunebench.measuring.session import SessionSettings, open_session, session_options

work, settings = Path(sys.argv[1]), SessionSettings(**json.loads(sys.argv[2]))
session = open_session((work / "network.onnx").read_bytes(), session_options(settings, 1))
[given] = session.get_inputs()
outputs = [session.run(None, {given.name: scene})[0] for scene in np.load(work / "scenes.npy")]
np.save(work / "outputs.npy", outputs)
padded = {
    row.stem: padded_width(row.read_bytes(), settings, work)
    for row in sorted(work.glob("*-*.onnx"))
}
print(json.dumps({"onnxruntime": onnxruntime.__version__, "padded": padded}))
"""


def main(work: Path, console: Console) -> int:
    """Make the root, run in it, and say what was seen."""
    python = emulated_python(work)
    claims = [*kit_claims(python, work), *network_claims(python, work)]
    return print_claims(console, claims)


def kit_claims(python: Path, work: Path) -> list[Claim]:
    """A kit, run there and brought home."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from device_kit import make_run_to_carry

    home = work / "home"
    home.mkdir()
    folder = make_run_to_carry(home)
    kit = write_kit(folder, home / "kit.pyz")
    ended = run(python, str(kit), home=home)
    print(ended.stdout, ended.stderr, file=sys.stderr)
    results = home / "kit-results.zip"
    with zipfile.ZipFile(results) as packed:
        said = json.loads(packed.read(RESULTS))
    column = add_results(folder, results, "pi5")
    cpu = column.fingerprint.cpu
    report = (folder / "report.md").read_text()
    return [
        ("the kit measures to the end", f"exit code {ended.returncode}", ended.returncode == 0),
        ("no variant fails there", str(said["failures"] or "none"), not said["failures"]),
        ("it knows that it is emulated", str(said["emulator"]), said["emulator"] is not None),
        ("it prints no time of a variant", "", " ms" not in ended.stdout),
        ("its results merge, as the board's", cpu, cpu == BOARD and column.name == "pi5"),
        ("no times in the report, a sentence", column.failure, column.failure in report),
    ]


def network_claims(python: Path, work: Path) -> list[Claim]:
    """What the shipped network predicts there and here, and the layout of convolutions."""
    network = export_network(work).rename(work / "network.onnx")
    session = SessionSettings.of(LatencyConfig())
    scenes = [read_input(path, IMGSZ, Detect())[0] for path in write_scenes(work, 3)]
    np.save(work / "scenes.npy", scenes)
    here = [OnnxNetwork(network, IMGSZ, session)(scene)[0] for scene in scenes]
    rows = {f"{n}-{w}": row_of_convolutions(w, n) for n in ("float", "int8") for w in WIDTHS}
    for name, row in rows.items():
        (work / f"{name}.onnx").write_bytes(row)
    words = ("-c", THERE, str(work), json.dumps(asdict(session)))
    ended = run(python, *words, home=work, PYTHONPATH=str(ROOT / "src"))
    print(ended.stderr, file=sys.stderr)
    said = json.loads(ended.stdout)
    there = np.load(work / "outputs.npy")
    found = [
        Detect().differences([a], [b], a.shape[1] - 4) for a, b in zip(there, here, strict=True)
    ]
    box, score = (max(one) for one in zip(*found, strict=True))
    limits = ExportConfig()
    agree = box <= limits.box_tolerance_px and score <= limits.score_tolerance
    blocked = [name for name, channels in said["padded"].items() if channels is not None]
    blocked_here = [name for name, row in rows.items() if padded_width(row, session, work)]
    return [
        ("outputs agree within the tolerances", f"{box:.2g} px, {score:.2g}", agree),
        (
            f"no row of convolutions is in the blocked layout (onnxruntime {said['onnxruntime']})",
            f"{len(blocked)} of {len(rows)} there, {len(blocked_here)} here",
            not blocked,
        ),
    ]


def emulated_python(work: Path) -> Path:
    """A Python of arm64 with what a kit needs, in a root with a board's kernel files."""
    root, archives = work / "root", work / "archives"
    site = root / "usr" / "lib" / "python3" / "dist-packages"
    lists = work / "lists"
    for folder in (site, archives, lists / "partial"):
        folder.mkdir(parents=True)
    # Lists of its own: the host's packages and architectures stay as they are.
    known = {
        "APT::Architectures": "amd64,arm64",
        "Dir::State::lists": lists,
        "Dir::State::status": "/dev/null",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
    }
    options = [word for key, value in known.items() for word in ("-o", f"{key}={value}")]
    subprocess.run(["apt-get", *options, "update", "-qq"], check=True)
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    needs = ["apt-cache", *options, "depends", "--recurse", *(f"--no-{kind}" for kind in kinds)]
    asked = subprocess.run(
        [*needs, "python3:arm64", "libstdc++6:arm64"], capture_output=True, text=True, check=True
    )
    # What begins in the first column is a package that is needed, below it what it needs.
    packages = re.findall(r"^\w\S*:arm64$", asked.stdout, re.MULTILINE)
    download = ["apt-get", *options, "download", "-qq", *packages]
    subprocess.run(download, cwd=archives, check=True, stderr=subprocess.DEVNULL)
    for archive in archives.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, root], check=True)
    binary = (root / "usr" / "bin" / "python3").resolve()
    wanted = [word for platform in PLATFORMS for word in ("--platform", platform)]
    wanted += ["--python-version", binary.name.removeprefix("python"), "--only-binary=:all:"]
    pip = [sys.executable, "-m", "pip", "download", "-q", *wanted, "-d", str(archives), *WHEELS]
    subprocess.run(pip, check=True)
    for wheel in archives.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)
    for name, content in board_files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    python = work / "python3"
    # The kernel cannot start arm64 programs, and the agent starts its children by this name.
    python.write_text(
        f'#!/bin/sh\nexec qemu-aarch64 -cpu {EMULATED} -L {root} -0 {python} {binary} "$@"\n'
    )
    python.chmod(0o755)
    return python


def board_files() -> dict[str, str]:
    """What the kernel of a board says of its CPU, without which onnxruntime does not start."""
    cpus = "sys/devices/system/cpu"
    files = {"proc/cpuinfo": "".join(map(CPU.format, range(CORES))) + f"Model\t\t: {BOARD}\n"}
    files |= {f"{cpus}/{name}": f"0-{CORES - 1}\n" for name in ("possible", "present", "online")}
    for core in range(CORES):
        files |= {
            f"{cpus}/cpu{core}/topology/core_id": f"{core}\n",
            f"{cpus}/cpu{core}/topology/physical_package_id": "0\n",
            f"{cpus}/cpu{core}/cpufreq/cpuinfo_max_freq": "2400000\n",
            f"{cpus}/cpu{core}/cpufreq/scaling_governor": "ondemand\n",
            f"{cpus}/cpu{core}/cpu_capacity": "1024\n",
            f"{cpus}/cpu{core}/regs/identification/midr_el1": "0x00000000414fd0b1\n",
        }
    return files


def run(python: Path, *words: str, home: Path, **known: str) -> subprocess.CompletedProcess[str]:
    """Run the emulated Python with nothing of this one's environment."""
    environment = {"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home), "PYTHONHOME": "/usr"}
    command = [str(python), *words]
    return subprocess.run(
        command, env=environment | known, capture_output=True, text=True, check=False
    )


if __name__ == "__main__":
    arguments(__doc__)
    in_workspace(main)
