"""Frames a second end to end: `edge-seg run` itself, in a process of its own."""

from edge_seg.apps.profile.child import ask_child
from edge_seg.apps.profile.rows import LoopSpeed, Row
from edge_seg.metrics import Percentiles


def run_loop_of(row: Row, source: str, frames: int) -> LoopSpeed:
    """What `edge-seg run --headless` reports of the first frames of a source; ModelError where it fails."""
    words = ["run", "--headless", "--json", "--source", source]
    words += ["--model", row.path, "--runtime", row.runtime, "--threads", str(row.threads), "--frames", str(frames)]
    found = ask_child("edge_seg.apps", *words)
    stages = {name: Percentiles(**stage) for name, stage in found["stages_ms"].items()}
    return LoopSpeed(source, found["fps"], Percentiles(**found["age_ms"]), stages)
