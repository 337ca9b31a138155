"""PyTorch on a GPU as a timed process, by the protocol of edge_seg.runners.timed.

    python tests/gpu/torch_timed.py edge-seg-s eager-fp32 1

The net has weights of chance, which take as long. `eager-fp32` is what `edge-seg run --runtime torch` does;
`compile-fp16` and `graph-fp16` (a CUDA graph) have FP16 weights in channels-last order, the convolutions that cuDNN
finds fastest, and labels that go back into page-locked memory. Pictures come from such memory always. It needs PyTorch
and NumPy of what edge-seg needs.
"""

import json
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from edge_seg.models import build_model
from edge_seg.models.deploy import Deploy
from edge_seg.runners.timed import answers_alone, go_first

WIDTH, HEIGHT, CLASSES = 480, 360, 11
WAYS = ("eager-fp32", "compile-fp16", "graph-fp16")


def main(net: str, way: str, batch: int) -> None:
    """Serve rounds: a line of seconds in, the times of the calls that fit into them out."""
    start, answers = time.perf_counter(), answers_alone()
    go_first()  # as what it is compared with
    image = torch.randint(0, 256, (batch, HEIGHT, WIDTH, 3), dtype=torch.uint8).pin_memory()
    with torch.inference_mode():
        infer = prepare(net, way, image)
        for _ in range(20):
            infer()
        print(json.dumps({"load_ms": (time.perf_counter() - start) * 1e3}), file=answers, flush=True)
        for line in sys.stdin:
            taken: list[float] = []
            while sum(taken) < float(line) * 1e3 or len(taken) < 2:
                start = time.perf_counter()
                infer()
                taken.append((time.perf_counter() - start) * 1e3)
            told = {"times_ms": taken, "memory_mb": torch.cuda.max_memory_reserved() / 1e6}
            print(json.dumps(told), file=answers, flush=True)


class Half(torch.nn.Module):
    """A net in FP16, of normalised pictures in FP32."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net.half()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.half())
        return logits


def prepare(net: str, way: str, image: Tensor) -> Callable[[], Tensor]:
    """A function from the picture in the CPU's memory to labels there."""
    built: torch.nn.Module = build_model(net, CLASSES).eval()
    if way == "eager-fp32":
        model = Deploy(built, width=WIDTH, height=HEIGHT).cuda()
        return lambda: model(image.cuda(non_blocking=True)).cpu()
    torch.backends.cudnn.benchmark = True
    model = Deploy(Half(built), width=WIDTH, height=HEIGHT).cuda().to(memory_format=torch.channels_last)
    if way == "graph-fp16":
        return _graphed(model, image)
    compiled, found = torch.compile(model, mode="max-autotune-no-cudagraphs"), labels_of(image)
    return lambda: fetch(compiled(image.cuda(non_blocking=True)), found)


def labels_of(image: Tensor) -> Tensor:
    """Page-locked memory for a batch's labels."""
    return torch.empty(image.shape[:3], dtype=torch.uint8).pin_memory()


def fetch(labels: Tensor, place: Tensor) -> Tensor:
    """Labels of the GPU in the CPU's memory, when they are there."""
    place.copy_(labels, non_blocking=True)
    torch.cuda.current_stream().synchronize()
    return place


def _graphed(model: torch.nn.Module, image: Tensor) -> Callable[[], Tensor]:
    place, found, graph = image.cuda(), labels_of(image), torch.cuda.CUDAGraph()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            model(place)
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        labels = model(place)

    def infer() -> Tensor:
        place.copy_(image, non_blocking=True)
        graph.replay()
        return fetch(labels, found)

    return infer


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
