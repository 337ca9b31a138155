"""What the ONNX parser of each TensorRT reads.

Sources: docs/operators.md and the parser's code of onnx-tensorrt at 8.5-GA, 8.6-GA, 10.1-GA and 10.15; its changelog
(10.3 to 10.6: no new opset before 10.6, which took ONNX 1.17); for 11 NVIDIA's "ONNX Opset Guide". The parser reads a
file's ir_version for its log alone.
"""

from onnx import TensorProto

from edge_seg.errors import ModelError

FIRST_OPSET = 13
"""Q/DQ per channel begins here; the parsers themselves read from 9 on."""

MOST_OPSET = {"8.5": 17, "8.6": 17, "10.3": 20, "10.13": 22, "10.16": 24, "11.4": 25}
"""The newest opset by version of TensorRT."""

JETPACK = {"5.1": "8.5", "6.0": "8.6", "6.1": "10.3", "6.2": "10.3", "7.0": "10.13", "7.1": "10.13", "7.2": "10.16"}
"""TensorRT by JetPack, whose third number changes nothing here."""

OLDEST = "8.5"
"""Taken where none is named: what this one reads, the later ones read."""

_NEVER = """AffineGrid Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im Compress
ConcatFromSequence ConvInteger DFT Det DynamicQuantizeLinear ImageDecoder MatMulInteger MaxRoiPool MaxUnpool
MelWeightMatrix Multinomial NegativeLogLikelihoodLoss Optional OptionalGetElement OptionalHasElement QLinearConv
QLinearMatMul RegexFullMatch SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
SequenceMap SoftmaxCrossEntropyLoss SplitToSequence StringConcat StringNormalizer StringSplit TfIdfVectorizer
Unique"""

_SINCE = {
    "GroupNormalization": (8, 6),
    "IsInf": (8, 6),
    "LayerNormalization": (8, 6),
    "Hardmax": (9, 2),
    "DeformConv": (10, 1),
    "BlackmanWindow": (10, 4),
    "HammingWindow": (10, 4),
    "HannWindow": (10, 4),
    "STFT": (10, 5),
}
"""The first version that reads an operator, where that is later than 8.5."""

_FLOAT4E2M1 = 23
"""Of TensorProto, which names it from onnx 1.18 on."""

_QUANTIZED_SINCE = {
    TensorProto.INT8: (8, 5),
    TensorProto.FLOAT8E4M3FN: (10, 0),
    TensorProto.INT4: (10, 0),
    _FLOAT4E2M1: (10, 8),
}
"""The first version that reads a Q or DQ of a type; int4 is for weights alone, which are multiplied in float."""


def version_of(name: str) -> tuple[int, int]:
    """A version as numbers that compare.

    >>> version_of("10.13") > version_of("10.3")
    True
    """
    major, minor = name.split(".")
    return int(major), int(minor)


def known_version(version: str) -> str:
    """The newest version in the tables that is no newer than an installed one, such as 10.7.0.

    >>> known_version("10.7.0"), known_version("8.6.1"), known_version("12.1")
    ('10.3', '8.6', '11.4')
    """
    major, minor, *_ = (int(part) for part in version.split("."))
    return max((v for v in MOST_OPSET if version_of(v) <= (major, minor)), key=version_of, default=OLDEST)


def find_version(jetpack: str | None, tensorrt: str | None) -> str:
    """The TensorRT version that the user named, or the oldest; ModelError for one that is not in the tables.

    Numbers behind the second do not matter; of a first one alone the oldest is taken.

    >>> find_version("6.2.1", None), find_version(None, "10.3.0"), find_version("6", None), find_version(None, None)
    ('10.3', '10.3', '8.6', '8.5')
    """
    if jetpack is not None:
        return JETPACK[_find(jetpack, list(JETPACK), "JetPack")]
    return OLDEST if tensorrt is None else _find(tensorrt, list(MOST_OPSET), "TensorRT")


def _find(given: str, known: list[str], what: str) -> str:
    """The first of the known versions, in their order, that begins as the given one does."""
    numbers = given.split(".")
    fits = [name for name in known if name.split(".")[: len(numbers)] == numbers[:2]]
    if not fits or not all(number.isdecimal() for number in numbers):
        raise ModelError(f"No {what} {given!r} is known. Choose {', '.join(known[:-1])} or {known[-1]}.")
    return fits[0]


def lacks_operator(operator: str, version: str) -> bool:
    """True where this version's parser has no such operator.

    >>> lacks_operator("LayerNormalization", "8.5"), lacks_operator("LayerNormalization", "8.6")
    (True, False)
    """
    return operator in _NEVER.split() or version_of(version) < _SINCE.get(operator, (0, 0))


def reads_quantized(kind: int, version: str) -> bool:
    """True where this version's parser reads a Q or DQ of an ONNX type.

    >>> reads_quantized(TensorProto.INT8, "8.5"), reads_quantized(TensorProto.INT16, "11.4")
    (True, False)
    """
    since = _QUANTIZED_SINCE.get(kind)
    return since is not None and version_of(version) >= since
