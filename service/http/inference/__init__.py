"""The Open Inference Protocol (also called KServe's or Triton's v2): its bodies, its parameters, and its answers."""
