"""A model's parts for other engines: the graphs of ONNX."""
