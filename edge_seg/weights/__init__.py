"""The bundled models by name."""

from pathlib import Path

from edge_seg.errors import ModelError
from edge_seg.files import check_path

FOLDER = Path(__file__).parent
BUNDLED = {
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
