"""From a trained network to a bundle that serves: the coarse pass as ONNX, the point head beside it."""
