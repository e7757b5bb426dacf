"""Accuracy and latency of an ONNX file on this host; nothing here knows how the file was made or
imports torch.
"""
