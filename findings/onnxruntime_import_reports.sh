#!/usr/bin/env bash
# Question: does onnxruntime's package for Linux report anything to its makers, and does disable_telemetry_events() end it?
# Guess (written down after the first run): no: telemetry is that of its builds for Windows.
# Seen: the import starts it. Within seconds a process that lives as long reaches for mobile.events.data.microsoft.com, and
#   from the import on an id and a database are kept in ~/.cache/Microsoft/DeveloperTools/.onnxruntime.
#   disable_telemetry_events(), called first thing after the import, changes neither. ORT_DISABLE_TELEMETRY=1, or CI=1, in
#   the environment does: no connection, no files.
# Versions: onnxruntime 1.32.0, numpy 2.4.6, Python 3.11 (x86-64)
# Date: 2026-11-28
# Output:
#   import onnxruntime: CONNECT mobile.events.data.microsoft.com:443, files deviceid, onnxruntime.db
#   disable_telemetry_events() after the import: CONNECT mobile.events.data.microsoft.com:443, files deviceid, onnxruntime.db
#   ORT_DISABLE_TELEMETRY=1: no connection, files none
#   CI=1: no connection, files none
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

# A proxy that notes what it is asked to connect to and connects to nothing.
asked = []
server = socket.create_server(("127.0.0.1", 0))


def note():
    while True:
        connection, _ = server.accept()
        asked.append(connection.recv(2000).decode(errors="replace").split(" HTTP")[0])
        connection.close()


threading.Thread(target=note, daemon=True).start()
proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
INHERITED = {
    key: value
    for key, value in os.environ.items()
    if "proxy" not in key.lower() and key not in ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
}


def importing(what, code="", **more):
    """What is asked for within 12 seconds, and which files are left, where a new user imports it."""
    asked.clear()
    home = Path(what.replace(" ", "-")).resolve()
    home.mkdir()
    known = INHERITED | {"HOME": str(home), "https_proxy": proxy, "http_proxy": proxy} | more
    code = f"import onnxruntime, time; {code or 'pass'}; time.sleep(12)"
    subprocess.run([sys.executable, "-c", code], check=True, env=known, capture_output=True)
    found = sorted(set(asked))
    files = sorted(path.name for path in home.rglob("*") if path.is_file())
    print(f"{what}: {', '.join(found) or 'no connection'}, files {', '.join(files) or 'none'}")
    return found, files


reported = (["CONNECT mobile.events.data.microsoft.com:443"], ["deviceid", "onnxruntime.db"])
assert importing("import onnxruntime") == reported
late = importing("disable_telemetry_events() after the import", "onnxruntime.disable_telemetry_events()")
assert late == reported
assert importing("ORT_DISABLE_TELEMETRY=1", ORT_DISABLE_TELEMETRY="1") == ([], [])
assert importing("CI=1", CI="1") == ([], [])
PY
