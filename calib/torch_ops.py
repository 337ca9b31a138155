"""ONNX operators in PyTorch, differentiable: what segmentation nets are made of, and nothing that none has.

Each takes its inputs in order, None where an optional one is left out, and its node's attributes. They do what the ONNX
specification says, opset 13 and later; ModelError names what of it is not here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional as F

from edge_seg.errors import ModelError

Inputs = Sequence[Any]
"""Tensors, and None for what is left out."""
Attributes = dict[str, Any]

DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
}


class StraightThrough(torch.autograd.Function):
    """Rounded values whose gradient is that of the values they were, where `inside` (Bengio et al., 2013)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, rounded: Tensor, inside: Tensor) -> Tensor:  # noqa: ANN401
        """`rounded`, in place of `value`."""
        ctx.save_for_backward(inside)
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        """The gradient of `value`."""
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None


def quantize_linear(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Whole numbers, held in float32: saturate(round to even(x / scale) + zero_point); no gradient beyond the ends."""
    data, scale, zero_point = (*inputs, None)[:3]
    if scale.ndim:
        raise ModelError("QuantizeLinear with a scale for each channel has no gradient here.")
    ends = torch.iinfo(torch.uint8 if zero_point is None else zero_point.dtype)
    zero = 0.0 if zero_point is None else zero_point.float()
    steps = data / scale
    levels = steps.detach().round() + zero
    held = levels.clamp(ends.min, ends.max)
    rounded: Tensor = StraightThrough.apply(steps, held, held == levels)
    return rounded


def dequantize_linear(inputs: Inputs, attributes: Attributes) -> Tensor:
    """(x - zero_point) * scale, of one scale or one for each place on an axis."""
    data, scale, zero_point = (*inputs, None)[:3]
    axis = attributes.get("axis", 1)
    shape = [1] * data.ndim
    if scale.ndim and scale.numel() > 1:
        shape[axis] = -1
    zero = 0.0 if zero_point is None else zero_point.float().reshape(shape)
    values: Tensor = (data.float() - zero) * scale.reshape(shape)
    return values


def convolve(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Conv in two dimensions."""
    data, weights, bias = (*inputs, None)[:3]
    data, padding = _padded(data, attributes, 0.0)
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    return F.conv2d(data, weights, bias, strides, padding, dilations, attributes.get("group", 1))


def convolve_transposed(inputs: Inputs, attributes: Attributes) -> Tensor:
    """ConvTranspose in two dimensions."""
    data, weights, bias = (*inputs, None)[:3]
    top, left, bottom, right = _pads(attributes)
    if (top, left) != (bottom, right) or "output_shape" in attributes:
        raise ModelError("ConvTranspose with uneven pads or an output_shape is not supported here.")
    return F.conv_transpose2d(
        data,
        weights,
        bias,
        attributes.get("strides", [1, 1]),
        [top, left],
        attributes.get("output_padding", [0, 0]),
        attributes.get("group", 1),
        attributes.get("dilations", [1, 1]),
    )


def max_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    """MaxPool in two dimensions."""
    data, padding = _padded(inputs[0], attributes, -torch.inf)
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    dilations, ceil = attributes.get("dilations", [1, 1]), bool(attributes.get("ceil_mode", 0))
    return F.max_pool2d(data, kernel, strides, padding, dilations, ceil)


def average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    """AveragePool in two dimensions."""
    top, left, bottom, right = _pads(attributes)
    if (top, left) != (bottom, right):
        raise ModelError("AveragePool with uneven pads is not supported here.")
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    ceil, counted = bool(attributes.get("ceil_mode", 0)), bool(attributes.get("count_include_pad", 0))
    return F.avg_pool2d(inputs[0], kernel, strides, [top, left], ceil, counted)


def _pads(attributes: Attributes) -> tuple[int, int, int, int]:
    """Pads at top, left, bottom and right; ModelError for those that depend on the size."""
    auto = attributes.get("auto_pad", b"NOTSET")
    if auto not in (b"NOTSET", b"VALID"):
        raise ModelError(f"auto_pad {auto.decode()} is not supported here. Export the net with pads in numbers.")
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return top, left, bottom, right


def _padded(data: Tensor, attributes: Attributes, value: float) -> tuple[Tensor, list[int]]:
    """The data, padded where pads are uneven, and the even pads that are left."""
    top, left, bottom, right = _pads(attributes)
    if (top, left) == (bottom, right):
        return data, [top, left]
    return F.pad(data, [left, right, top, bottom], value=value), [0, 0]


def resize(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Resize of the last two dimensions: bilinear, or to the nearest one above and left."""
    data, _, scales, sizes = (*inputs, None, None)[:4]
    mode, centres = attributes.get("mode", b"nearest"), attributes.get("coordinate_transformation_mode", b"half_pixel")
    nearest = attributes.get("nearest_mode", b"round_prefer_floor")
    options: dict[str, Any]
    if mode == b"linear" and centres in (b"half_pixel", b"pytorch_half_pixel", b"align_corners"):
        options = {"mode": "bilinear", "align_corners": centres == b"align_corners"}
    elif mode == b"nearest" and centres == b"asymmetric" and nearest == b"floor":
        options = {"mode": "nearest"}
    else:
        raise ModelError(f"Resize {mode.decode()}, {centres.decode()}, {nearest.decode()} is not supported here.")
    if sizes is not None and sizes.numel():
        return F.interpolate(data, size=sizes.tolist()[2:], **options)
    return F.interpolate(data, scale_factor=scales.tolist()[2:], recompute_scale_factor=False, **options)


def batch_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    """BatchNormalization with the statistics of its inputs."""
    data, weight, bias, mean, variance = inputs
    return F.batch_norm(data, mean, variance, weight, bias, eps=attributes.get("epsilon", 1e-5))


def instance_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    """InstanceNormalization: each channel of each picture by its own mean and variance."""
    data, weight, bias = inputs
    return F.instance_norm(data, weight=weight, bias=bias, eps=attributes.get("epsilon", 1e-5))


def layer_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    """LayerNormalization over the axes from `axis` on."""
    data, weight, bias = (*inputs, None)[:3]
    return F.layer_norm(data, data.shape[attributes.get("axis", -1) :], weight, bias, attributes.get("epsilon", 1e-5))


def clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Clip to the ends that are given."""
    data, least, most = (*inputs, None, None)[:3]
    clipped: Tensor = data if least is None and most is None else data.clamp(least, most)
    return clipped


def reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Reshape, where 0 keeps a size and -1 takes what is left."""
    data, shape = inputs
    if attributes.get("allowzero"):
        raise ModelError("Reshape with allowzero is not supported here.")
    sizes = [data.shape[place] if size == 0 else size for place, size in enumerate(shape.tolist())]
    reshaped: Tensor = data.reshape(sizes)
    return reshaped


def reduce_mean(inputs: Inputs, attributes: Attributes) -> Tensor:
    """ReduceMean over axes, which opset 18 made an input; over all where there are none."""
    data, axes = (*inputs, None)[:2]
    chosen = attributes.get("axes") if axes is None else axes.tolist()
    mean: Tensor = data.mean(chosen or list(range(data.ndim)), keepdim=bool(attributes.get("keepdims", 1)))
    return mean


def take_slice(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Slice, forwards."""
    data, starts, ends, axes, steps = (*inputs, None, None)[:5]
    places = range(data.ndim) if axes is None else axes.tolist()
    strides = [1] * len(starts) if steps is None else steps.tolist()
    chosen = [slice(None)] * data.ndim
    for axis, start, end, step in zip(places, starts.tolist(), ends.tolist(), strides, strict=False):
        if step < 0:
            raise ModelError("Slice backwards is not supported here.")
        chosen[axis] = slice(start, end, step)
    taken: Tensor = data[tuple(chosen)]
    return taken


def gather(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Gather along one axis."""
    data, indices = inputs
    axis = attributes.get("axis", 0) % data.ndim
    picked: Tensor = data.index_select(axis, indices.reshape(-1) % data.shape[axis])
    return picked.reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])


def squeeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Squeeze the axes given, or all of size 1."""
    data, axes = (*inputs, None)[:2]
    squeezed: Tensor = data.squeeze() if axes is None else data.squeeze(tuple(axes.tolist()))
    return squeezed


def unsqueeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    """New axes of size 1 at places of the result."""
    data, axes = inputs
    rank = data.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes.tolist()):
        data = data.unsqueeze(axis)
    result: Tensor = data
    return result


def pad(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Pad with one number, at both ends of every axis."""
    data, pads, value, axes = (*inputs, None, None)[:4]
    mode = attributes.get("mode", b"constant").decode()
    if mode != "constant" or axes is not None:
        raise ModelError(f"Pad {mode}{' with axes' if axes is not None else ''} is not supported here.")
    amounts = pads.tolist()
    sides = [amounts[axis + end] for axis in reversed(range(data.ndim)) for end in (0, data.ndim)]
    return F.pad(data, sides, value=0.0 if value is None else value.item())


def arg_max(inputs: Inputs, attributes: Attributes) -> Tensor:
    """ArgMax; of equal values the first."""
    found: Tensor = inputs[0].argmax(attributes.get("axis", 0), keepdim=bool(attributes.get("keepdims", 1)))
    return found


def cast(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Cast to one of DTYPES."""
    if attributes["to"] not in DTYPES:
        raise ModelError(f"Cast to {TensorProto.DataType.Name(attributes['to'])} is not supported here.")
    converted: Tensor = inputs[0].to(DTYPES[attributes["to"]])
    return converted


OPERATORS: dict[str, Callable[[Inputs, Attributes], Tensor]] = {
    "Add": lambda x, _: x[0] + x[1],
    "ArgMax": arg_max,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Concat": lambda x, a: torch.cat(list(x), a["axis"]),
    "Conv": convolve,
    "ConvTranspose": convolve_transposed,
    "DequantizeLinear": dequantize_linear,
    "Div": lambda x, _: x[0] / x[1],
    "Erf": lambda x, _: torch.erf(x[0]),
    "Gather": gather,
    "GlobalAveragePool": lambda x, _: x[0].mean((2, 3), keepdim=True),
    "HardSigmoid": lambda x, a: (a.get("alpha", 0.2) * x[0] + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda x, _: F.hardswish(x[0]),
    "Identity": lambda x, _: x[0],
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "MatMul": lambda x, _: x[0] @ x[1],
    "MaxPool": max_pool,
    "Mul": lambda x, _: x[0] * x[1],
    "Pad": pad,
    "Pow": lambda x, _: x[0] ** x[1],
    "QuantizeLinear": quantize_linear,
    "ReduceMean": reduce_mean,
    "Relu": lambda x, _: F.relu(x[0]),
    "Reshape": reshape,
    "Resize": resize,
    "Shape": lambda x, _: torch.tensor(x[0].shape, device=x[0].device),
    "Sigmoid": lambda x, _: torch.sigmoid(x[0]),
    "Slice": take_slice,
    "Softmax": lambda x, a: x[0].softmax(a.get("axis", -1)),
    "Sqrt": lambda x, _: torch.sqrt(x[0]),
    "Squeeze": squeeze,
    "Sub": lambda x, _: x[0] - x[1],
    "Transpose": lambda x, a: x[0].permute(a.get("perm", list(range(x[0].ndim))[::-1])),
    "Unsqueeze": unsqueeze,
}
"""By name."""
