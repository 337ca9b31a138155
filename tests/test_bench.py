"""The benchmarks that train: they must still fit the training they stand on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_foreign_net_is_trained_adopted_and_judged(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    words = ["--net", "torchvision-lraspp", "--data", "drive:frames=16", "--test", "drive:seed=1,frames=4"]
    words += ["--size", "96x72", "--recipe", "quick", "--epochs", "1", "--out", str(tmp_path)]
    command = [sys.executable, str(ROOT / "tests/bench/foreign_nets.py"), *words]

    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True, text=True
    )

    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].strip("|").split("|")]
    assert cells[:4] == ["torchvision-lraspp", "96x72", "1", "none"]
    in_pytorch, adopted = map(float, cells[5:])
    assert adopted == pytest.approx(in_pytorch, abs=0.01)  # the export up-samples from the same logits
