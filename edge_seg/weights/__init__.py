"""The bundled models by name."""

from pathlib import Path

from edge_seg.errors import ModelError
from edge_seg.files import check_path

FOLDER = Path(__file__).parent
BUNDLED = {
    "edge-seg-n": "edge-seg-n.int8.onnx",
    "edge-seg-n-fp32": "edge-seg-n.onnx",
    "edge-seg-s": "edge-seg-s.int8.onnx",
    "edge-seg-s-drive": "edge-seg-s-drive.int8.onnx",
    "edge-seg-s-fp32": "edge-seg-s.onnx",
}
"""Name -> file in this folder: a plain name is the INT8 file."""

LICENCE_NOTE = (
    "CamVid is for research, non-commercial use, and so are weights trained on it: see edge_seg/weights/LICENSE. "
    "For any other use take edge-seg-s-drive, trained on rendered frames alone, or train on data of your own."
)


def find_model(model: str) -> Path:
    """Path of a bundled name or of a file; ModelError where it is neither.

    >>> find_model("edge-seg-s").name
    'edge-seg-s.int8.onnx'
    """
    if model in BUNDLED:
        return FOLDER / BUNDLED[model]
    path = check_path(model, ModelError)
    if not path.is_file():
        raise ModelError(f"No model {model!r}: neither a file nor a bundled name ({', '.join(sorted(BUNDLED))}).")
    return path


def fp32_name(path: Path) -> str | None:
    """The bundled name of the FP32 file that a bundled INT8 file was made from; None where there is none.

    >>> fp32_name(find_model("edge-seg-s")), fp32_name(find_model("edge-seg-s-fp32")), fp32_name(Path("mine.onnx"))
    ('edge-seg-s-fp32', None, None)
    """
    names = {FOLDER / file: f"{name}-fp32" for name, file in BUNDLED.items()}
    name = names.get(path)
    return name if name in BUNDLED else None


def place_beside(path: Path) -> Path:
    """A model's path, after which to name what is made of it: in the working folder for a bundled one.

    >>> place_beside(find_model("edge-seg-s")).name, str(place_beside(Path("runs/mine.onnx")))
    ('edge-seg-s.int8.onnx', 'runs/mine.onnx')
    """
    return Path(path.name) if path.parent == FOLDER else path
