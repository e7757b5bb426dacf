#!/usr/bin/env bash
# Question: does `import openvino`, to run a file, reach for the network?
# Guess (written down after the first run): no: telemetry is that of the conversion tools, which are not used.
# Seen: the import itself reports to google-analytics.com, by a forked process, and keeps an id of this user and a count of
#   imports in ~/intel, from the first import on and without asking. Without the package openvino-telemetry, which pip
#   installs as a dependency, or with `sys.modules["openvino_telemetry"] = None` before the import, it does neither.
#   Consent can be taken back: `opt_in_out --opt_out`.
# Versions: OpenVINO 2026.4.1, openvino-telemetry 2025.2.0, Python 3.11
# Date: 2026-11-28
# Output:
#   import openvino: CONNECT www.google-analytics.com:443, files openvino_ga_cid, stats
#   the module openvino_telemetry blocked: no connection, no files
#   opted out: no connection
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openvino==2026.4.1 openvino-telemetry==2025.2.0
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
        asked.append(connection.recv(1000).decode(errors="replace").split(" HTTP")[0])
        connection.close()


threading.Thread(target=note, daemon=True).start()
proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
CODE = "import openvino, time; openvino.Core(); time.sleep(5)"


def importing(code, home):
    """What is asked for, and which files are left, where a new user runs the code."""
    asked.clear()
    Path(home).mkdir(exist_ok=True)
    known = {key: value for key, value in os.environ.items() if "proxy" not in key.lower() and key != "CI"}
    known |= {"HOME": str(Path(home).resolve()), "https_proxy": proxy, "http_proxy": proxy}
    subprocess.run([sys.executable, "-c", code], check=True, env=known, capture_output=True)
    files = sorted(path.name for path in Path(home).glob("intel/*"))
    return sorted(set(asked)), files


found, files = importing(CODE, "plain")
print(f"import openvino: {', '.join(found)}, files {', '.join(files)}")
assert found == ["CONNECT www.google-analytics.com:443"] and "openvino_ga_cid" in files
found, files = importing(f"import sys; sys.modules['openvino_telemetry'] = None; {CODE}", "blocked")
print("the module openvino_telemetry blocked: no connection, no files")
assert not found and not files
out = "import openvino_telemetry as tm; tm.Telemetry.opt_out('G-W5E9RNLD4H')"
importing(out, "out")
found, files = importing(CODE, "out")
print("opted out: no connection")
assert not found
PY
