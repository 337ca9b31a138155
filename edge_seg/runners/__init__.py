"""Run-times behind one protocol: `with open_runner("model.onnx") as runner: labels = runner.infer(images)`."""

from edge_seg.runners.base import RUNTIMES, Runner, best_runtime, check_vnni, choose_runtime, open_runner, read_spec

__all__ = ["RUNTIMES", "Runner", "best_runtime", "check_vnni", "choose_runtime", "open_runner", "read_spec"]
