"""Run-times behind one protocol: `with open_runner("model.onnx") as runner: labels = runner.infer(images)`."""

from edge_seg.runners.base import RUNTIMES, Runner, open_runner

__all__ = ["RUNTIMES", "Runner", "open_runner"]
