"""INT8 siblings of exported files: which layers stay in float, onnxruntime's quantization, and the
step that makes one.
"""
