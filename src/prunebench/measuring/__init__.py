"""Accuracy and latency of an ONNX file on this host, however it was made; without torch."""
