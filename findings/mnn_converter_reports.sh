#!/usr/bin/env bash
# Question: does MNN's converter do anything but convert the ONNX file it is given?
# Guess (written down after the first run): no: it reads one file, writes another, and needs no network.
# Seen: `mnnconvert`, and whatever imports `MNN.tools.mnnconvert` (so does Ultralytics' `export(format="mnn")`), runs
#   `pip install -U aliyun-log-python-sdk` with the pip that is first on PATH, unasked. Where that works, every
#   conversion is reported to MNN's makers: an id of the machine, one of the model, its sizes, the arguments.
#   The module `_tools`, which does the work, does neither.
# Versions: MNN 3.6.1, onnx 1.23.2, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   mnnconvert ran: pip install -U aliyun-log-python-sdk
#   import MNN.tools.mnnconvert ran: pip install -U aliyun-log-python-sdk
#   _tools.mnnconvert ran: nothing
#   what a report would hold: machine_id, model_guid, src_model_size, dst_model_size
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet MNN==3.6.1 onnx==1.23.2 numpy==2.4.6
# A pip that installs nothing and notes what it is asked for: so nothing can be sent either.
mkdir noting
printf '#!/bin/sh\necho "pip $*" >> "%s/asked"\n' "$folder" > noting/pip
chmod +x noting/pip
PATH="$folder/noting:$PATH" venv/bin/python - <<'PY'
import importlib.util
import subprocess
from pathlib import Path

import onnx
from onnx import helper

ends = [helper.make_tensor_value_info(name, 1, (1, 3, 8, 8)) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "m.onnx")
files = ["-f", "ONNX", "--modelFile", "m.onnx", "--MNNModel", "m.mnn"]
python = "venv/bin/python"


def asked_by(what, command):
    """What pip was asked for meanwhile."""
    Path("asked").unlink(missing_ok=True)
    Path("m.mnn").unlink(missing_ok=True)
    subprocess.run(command, check=True, capture_output=True)
    found = Path("asked").read_text().split("\n")[0] if Path("asked").is_file() else "nothing"
    print(f"{what} ran: {found}")
    return found


script = asked_by("mnnconvert", ["venv/bin/mnnconvert", *files])
assert Path("m.mnn").is_file()
imported = asked_by("import MNN.tools.mnnconvert", [python, "-c", "import MNN.tools.mnnconvert"])
code = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"
plain = asked_by("_tools.mnnconvert", [python, "-c", code, *files])
assert Path("m.mnn").is_file()
assert script == imported == "pip install -U aliyun-log-python-sdk" and plain == "nothing"
root = Path(importlib.util.find_spec("MNN").submodule_search_locations[0]) / "tools"
source = "".join((root / name).read_text() for name in ("mnnconvert.py", "utils/log.py"))
held = [key for key in ("machine_id", "model_guid", "src_model_size", "dst_model_size") if f'"{key}"' in source]
print("what a report would hold:", ", ".join(held))
assert len(held) == 4
PY
