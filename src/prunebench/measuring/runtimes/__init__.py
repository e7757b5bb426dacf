"""What runs a network's file: onnxruntime, and others that it is held against."""
