#!/usr/bin/env bash
# Question: what does Ultralytics print for the GFLOPs of a network once thop, the old counter, is installed beside it (as a
#   requirement of another repository)?
# Guess (written down after the first run): the same: it brings its own, ultralytics-thop.
# Seen: both packages hold a module of the same name, thop; the one installed last has written over the other's files. thop's
#   does not know the arguments that Ultralytics calls it with; Ultralytics takes the error for "cannot count" and says 0.0
#   GFLOPs of every network. pip says nothing, and neither does Ultralytics. `pip install --force-reinstall --no-deps ultralytics-thop`
#   mends it.
# Versions: ultralytics 8.4.190, ultralytics-thop 2.2.3, thop 0.1.1.post2209072238, torch 2.14.1, numpy 2.4.6
# Date: 2026-11-29
# Output:
#   ultralytics alone: 6.7 GFLOPs
#   then thop: 0.0 GFLOPs
#   then ultralytics-thop again: 6.7 GFLOPs
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
install() { venv/bin/pip install --quiet "$@"; }
install ultralytics==8.4.190 ultralytics-thop==2.2.3 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
export YOLO_CONFIG_DIR="$folder" YOLO_OFFLINE=True
cat > count.py <<'PY'
import sys

from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import get_flops

found = get_flops(DetectionModel("yolo11n.yaml", verbose=False), 640)
print(f"{sys.argv[1]}: {found:.1f} GFLOPs")
assert (found > 6) == (sys.argv[2] == "right"), found
PY
venv/bin/python count.py "ultralytics alone" right | grep GFLOPs
install thop==0.1.1.post2209072238
venv/bin/python count.py "then thop" wrong | grep GFLOPs
install --force-reinstall --no-deps ultralytics-thop==2.2.3
venv/bin/python count.py "then ultralytics-thop again" right | grep GFLOPs
