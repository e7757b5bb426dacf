"""An ONNX file as LiteRT takes it: a TFLite file of the same operators and weights."""
