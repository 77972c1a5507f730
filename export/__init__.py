"""From a trained network to a bundle that serves: the coarse pass as ONNX, the point head beside it."""

import os

# From 1.29 on, ONNX Runtime's Linux builds report sessions to Microsoft, and leave files, unless told so before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
