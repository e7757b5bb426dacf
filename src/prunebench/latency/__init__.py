"""onnxruntime latency on this host: rounds of fresh processes, and what makes them untrue."""
