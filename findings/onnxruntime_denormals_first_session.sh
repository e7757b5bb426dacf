#!/usr/bin/env bash
# Question: whose denormal numbers does the session option `session.set_denormal_as_zero` flush?
# Guess: those of the session that sets it, on every thread that runs it; no other session's, not numpy's.
# Seen: the FIRST session of a process decides, once, and for the thread that made it, from then on:
#   set there, later sessions flush even with "0", and so does numpy; not set there, later
#   sessions do not flush even with "1", though they report the option as "1". Threads started
#   after the first session inherit its mode, threads started before it do not.
#   So one process cannot compare with and without it. Seen on x86-64.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   set to 0 then 1:
#     session with 0: flushes on the main thread False, on a later False, on an earlier False
#     session with 1: flushes on the main thread False, on a later False, on an earlier False
#     numpy flushes: False
#   set to 1 then 0:
#     session with 1: flushes on the main thread True, on a later True, on an earlier False
#     session with 0: flushes on the main thread True, on a later True, on an earlier False
#     numpy flushes: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > sessions.py <<'PY'
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

graph = helper.make_graph(
    [helper.make_node("Mul", ["x", "half"], ["y"])],
    "halve",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])],
    [numpy_helper.from_array(np.float32(0.5), "half")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
smallest = np.full(64, np.finfo(np.float32).tiny)  # its half is denormal


def flushes(session):
    return not session.run(None, {"x": smallest})[0].any()


earlier = ThreadPoolExecutor(1)
earlier.submit(threading.get_ident).result()
setting = sys.argv[1:]
found = []
for value in setting:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", value)
    session = ort.InferenceSession(model.SerializeToString(), options)
    reported = session.get_session_options().get_session_config_entry("session.set_denormal_as_zero")
    assert reported == value
    with ThreadPoolExecutor(1) as later:
        answers = (flushes(session), later.submit(flushes, session).result())
    found.append((*answers, earlier.submit(flushes, session).result()))
numpy_flushes = not (smallest * np.float32(0.5)).any()
print(f"set to {' then '.join(setting)}:")
for value, (main, later, before) in zip(setting, found, strict=True):
    print(f"  session with {value}: flushes on the main thread {main}, on a later {later}, on an earlier {before}")
print(f"  numpy flushes: {numpy_flushes}")
first = setting[0] == "1"
assert all(answers == (first, first, False) for answers in found), found
assert numpy_flushes == first
PY
venv/bin/python sessions.py 0 1
venv/bin/python sessions.py 1 0
