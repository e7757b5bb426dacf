"""The fastest of onnxruntime's session settings for a variant on this host."""
