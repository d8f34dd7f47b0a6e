"""PyTorch's operations in the words of ONNX, one function each.

They are those that a dispatch mode sees: functions that are made of others do not reach it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from models.errors import NotApplicable

Emit = Callable[..., str]
"""emit(op, inputs, made, **attributes) writes an operation down and returns the name of what comes
out of it, which is the tensor `made`, or None for what PyTorch has no tensor of.
"""


class Call(NamedTuple):
    """An operation as it was called.

    name: gives the name of a tensor. constant: makes one of a list of whole numbers, of a number,
        or of a weight that is given transposed. images: how many pass.
    """

    args: Sequence[Any]
    kwargs: dict[str, Any]
    output: Any
    name: Callable[[Tensor], str]
    constant: Callable[[Any], str]
    transposed: Callable[[Tensor], str]
    emit: Emit
    images: int

    def arg(self, index: int, key: str, default: Any = None) -> Any:
        if len(self.args) > index:
            return self.args[index]
        return self.kwargs.get(key, default)

    def values(self, *keys: tuple[str, Any]) -> Iterator[Any]:
        """Yield the arguments in their order, each (name, what it is by default)."""
        for index, (key, default) in enumerate(keys):
            yield self.arg(index, key, default)

    def operand(self, x: Any) -> str:
        return self.name(x) if isinstance(x, Tensor) else self.constant(float(x))

    def rest(self, x: Tensor) -> list[int]:
        """Return the sizes of `x` behind that of the batch."""
        if x.dim() == 0 or x.shape[0] != self.images:
            raise NotApplicable(
                "the network gives a tensor a shape in which images are not kept apart; such a "
                "network cannot be exported"
            )
        return list(x.shape[1:])


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [*value] * (2 if len(value) == 1 else 1)


def _convolution(call: Call) -> None:
    x, weight, bias, stride, padding, dilation, is_transposed, _, groups = call.args[:9]
    if is_transposed or weight.dim() != 4:
        raise NotApplicable(
            "the network has a convolution that is transposed, or of other than two dimensions; "
            "such a one cannot be exported"
        )
    inputs = [call.name(x), call.name(weight)] + ([] if bias is None else [call.name(bias)])
    pads = _pair(padding)
    call.emit(
        *("Conv", inputs, call.output),
        strides=_pair(stride),
        pads=[*pads, *pads],
        dilations=_pair(dilation),
        group=groups,
    )


def _addmm(call: Call) -> None:
    bias, x, weight = call.args[:3]
    inputs = [call.name(x), call.transposed(weight), call.name(bias)]
    call.emit("Gemm", inputs, call.output, transB=1)


def _mm(call: Call) -> None:
    x, weight = call.args
    call.emit("Gemm", [call.name(x), call.transposed(weight)], call.output, transB=1)


def _batch_norm(call: Call) -> None:
    x, weight, bias, mean, variance, *rest = call.args
    training, eps = (False, rest[-1]) if len(rest) == 2 else (rest[0], rest[-1])
    if training or mean is None:
        raise NotApplicable("a BatchNorm takes the statistics of each batch; it cannot be exported")
    ones = mean.new_ones(mean.shape)
    scale, shift = (ones if weight is None else weight), (0 * ones if bias is None else bias)
    inputs = [call.name(each) for each in (x, scale, shift, mean, variance)]
    call.emit("BatchNormalization", inputs, call.output[0], epsilon=eps)


def _simple(op: str, **attributes: Any) -> Callable[[Call], None]:
    def operation(call: Call) -> None:
        call.emit(op, [call.name(call.args[0])], call.output, **attributes)

    return operation


def _clamp(call: Call) -> None:
    low, high = call.arg(1, "min"), call.arg(2, "max")
    ends = ["" if end is None else call.constant(float(end)) for end in (low, high)]
    call.emit("Clip", [call.name(call.args[0]), *ends], call.output)


def _hardtanh(call: Call) -> None:
    ends = [
        call.constant(float(call.arg(1, "min_val", -1))),
        call.constant(float(call.arg(2, "max_val", 1))),
    ]
    call.emit("Clip", [call.name(call.args[0]), *ends], call.output)


def _leaky_relu(call: Call) -> None:
    call.emit(
        "LeakyRelu",
        [call.name(call.args[0])],
        call.output,
        alpha=float(call.arg(1, "negative_slope", 0.01)),
    )


def _binary(op: str) -> Callable[[Call], None]:
    def operation(call: Call) -> None:
        first, second = call.args[:2]
        if call.kwargs.get("alpha", 1) != 1:
            raise NotApplicable("the network adds a multiple (alpha=); it cannot be exported")
        call.emit(op, [call.operand(first), call.operand(second)], call.output)

    return operation


def _mean(call: Call) -> None:
    x, dims = call.args[0], call.arg(1, "dim")
    if x.dim() != 4 or dims is None or sorted(dim % 4 for dim in dims) != [2, 3]:
        raise NotApplicable(
            "the network takes a mean over others than all pixels; it cannot be exported"
        )
    _pooled(call, "GlobalAveragePool")


def _adaptive(call: Call) -> None:
    x, size = call.args[:2]
    height, width = _pair(size)
    if x.shape[2] % height or x.shape[3] % width:
        raise NotApplicable(
            "the network pools to a size that does not divide its input's; it cannot be exported"
        )
    kernel = [x.shape[2] // height, x.shape[3] // width]
    call.emit("AveragePool", [call.name(x)], call.output, kernel_shape=kernel, strides=kernel)


def _pooled(call: Call, op: str) -> None:
    x = call.name(call.args[0])
    if call.output.dim() == 4:
        call.emit(op, [x], call.output)
        return
    _reshaped(call, call.emit(op, [x], None))


_WINDOW: tuple[tuple[str, Any], ...] = (
    *(("self", None), ("kernel_size", None)),
    *(("stride", []), ("padding", 0)),
)


def _average(call: Call) -> None:
    x, kernel, stride, padding, ceil, count, divisor = call.values(
        *_WINDOW,
        *(("ceil_mode", False), ("count_include_pad", True), ("divisor_override", None)),
    )
    if divisor is not None:
        raise NotApplicable("the network pools with a divisor of its own; it cannot be exported")
    if _pair(kernel) == list(x.shape[2:]) and _pair(padding) == [0, 0]:
        _pooled(call, "GlobalAveragePool")
        return
    pads = _pair(padding)
    call.emit(
        *("AveragePool", [call.name(x)], call.output),
        kernel_shape=_pair(kernel),
        strides=_pair(stride or kernel),
        pads=[*pads, *pads],
        ceil_mode=int(ceil),
        count_include_pad=int(count),
    )


def _max(call: Call) -> None:
    x, kernel, stride, padding, dilation, ceil = call.values(
        *_WINDOW, *(("dilation", 1), ("ceil_mode", False))
    )
    pads = _pair(padding)
    call.emit(
        *("MaxPool", [call.name(x)], call.output[0]),
        kernel_shape=_pair(kernel),
        strides=_pair(stride or kernel),
        pads=[*pads, *pads],
        dilations=_pair(dilation),
        ceil_mode=int(ceil),
    )


def _reshape(call: Call) -> None:
    _reshaped(call, call.name(call.args[0]))


def _reshaped(call: Call, x: str) -> None:
    shape = call.constant([-1, *call.rest(call.output)])
    call.emit("Reshape", [x, shape], call.output)


def _permute(call: Call) -> None:
    x = call.args[0]
    order = list(range(x.dim()))
    if len(call.args) == 3:  # transpose: two of them
        first, second = (dim % x.dim() for dim in call.args[1:])
        order[first], order[second] = order[second], order[first]
    else:
        order = [dim % x.dim() for dim in call.args[1]]
    call.emit("Transpose", [call.name(x)], call.output, perm=order)


def _cat(call: Call) -> None:
    parts = call.args[0]
    axis = call.arg(1, "dim", 0) % parts[0].dim()
    call.emit("Concat", [call.name(part) for part in parts], call.output, axis=axis)


def _pad(call: Call) -> None:
    x, pads = call.args[:2]
    value, dims = float(call.arg(2, "value", 0)), x.dim()
    pairs = [(0, 0)] * (dims - len(pads) // 2) + [*zip(pads[::2], pads[1::2], strict=True)][::-1]
    both = [low for low, _ in pairs] + [high for _, high in pairs]
    call.emit("Pad", [call.name(x), call.constant(both), call.constant(value)], call.output)


def _slice(call: Call) -> None:
    x, dim, start, end, step = call.values(
        ("self", None), ("dim", 0), ("start", None), ("end", None), ("step", 1)
    )
    size = x.shape[dim]
    ends = [0 if start is None else start, size if end is None else min(end, size)]
    lists = [call.constant([each]) for each in (*ends, dim % x.dim(), step)]
    call.emit("Slice", [call.name(x), *lists], call.output)


OPERATIONS: dict[str, Callable[[Call], None]] = {
    "convolution": _convolution,
    "addmm": _addmm,
    "mm": _mm,
    "native_batch_norm": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "relu": _simple("Relu"),
    "sigmoid": _simple("Sigmoid"),
    "tanh": _simple("Tanh"),
    "hardswish": _simple("HardSwish"),
    "hardsigmoid": _simple("HardSigmoid", alpha=1 / 6, beta=0.5),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "add": _binary("Add"),
    "sub": _binary("Sub"),
    "mul": _binary("Mul"),
    "div": _binary("Div"),
    "mean": _mean,
    "_adaptive_avg_pool2d": _adaptive,
    "avg_pool2d": _average,
    "max_pool2d_with_indices": _max,
    "view": _reshape,
    "_unsafe_view": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _reshape,
    "permute": _permute,
    "transpose": _permute,
    "cat": _cat,
    "constant_pad_nd": _pad,
    "slice": _slice,
}
"""By the names that the dispatcher has for them, without the underscore of those in place."""

SAME = frozenset({"clone", "detach", "alias", "_to_copy", "lift_fresh"})
"""Operations that change no value."""
