"""Every function that a network calls, in one form, for methods with a rule for each of them.

Modules, functions, methods, operators of ``torch.export`` programs and what works in place all end
up as a call of torch, which a mode sees. A rule says what the way back is: `instead` has the value
of the call and the derivative of something else, so autograd does the sums, the branches and the
layers that run several times.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods._attention import attention, heads
from saliency_audit.models import Classifier
from saliency_audit.models.classifier import evaluating

Run = Callable[..., Any]

ALIASES = {
    **dict.fromkeys(("radd", "iadd"), "add"),
    **dict.fromkeys(("rmul", "imul", "multiply"), "mul"),
    **dict.fromkeys(("isub", "subtract"), "sub"),
    **dict.fromkeys(("truediv", "itruediv", "true_divide", "divide", "idiv"), "div"),
    "rtruediv": "rdiv",
    "imatmul": "matmul",
    **dict.fromkeys(("concat", "concatenate"), "cat"),
    "clip": "clamp",
    "absolute": "abs",
    "special_expit": "sigmoid",
    "_native_batch_norm_legit_no_training": "native_batch_norm",
    "_unsafe_view": "view",
    "_log_softmax": "log_softmax",
    "_softmax": "softmax",
}
"""Names under which torch has the same function."""

SHAPING = frozenset(
    (
        *("__get__", "alias", "clone", "contiguous", "detach", "lift_fresh", "positive"),
        *("chunk", "diagonal", "expand", "expand_as", "flatten", "flip", "getitem", "index"),
        *("index_select", "gather", "moveaxis", "movedim", "narrow", "permute", "pixel_shuffle"),
        *("pixel_unshuffle", "channel_shuffle", "repeat", "repeat_interleave", "reshape", "view"),
        *("reshape_as", "view_as", "roll", "select", "slice", "split", "split_with_sizes"),
        *("tensor_split", "squeeze", "swapaxes", "swapdims", "t", "transpose", "unbind"),
        *("unflatten", "unfold", "unsqueeze", "as_strided", "cat", "stack", "hstack", "vstack"),
        *("pad", "constant_pad_nd", "zero_pad2d", "dropout", "dropout1d", "dropout2d", "copy"),
        *("dropout3d", "feature_dropout", "alpha_dropout", "setitem", "to", "type", "type_as"),
        *("float", "double", "_to_copy", "cuda", "cpu", "identity", "rot90", "real"),
        *("split_copy", "unbind_copy", "dsplit", "hsplit", "vsplit", "native_dropout"),
    )
)
"""Functions that move numbers and leave them as they are; 0 may come in."""

SUMMING = frozenset(
    (
        *("mean", "sum", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
        *("interpolate", "upsample", "upsample_bilinear2d", "upsample_nearest2d", "fold", "cumsum"),
    )
)
"""Functions that are linear in one tensor, with weights of one sign."""

CONVOLUTIONS = frozenset(
    (
        *("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "linear"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    )
)
"""Functions of an input, a weight and a bias."""


ACTIVATIONS = frozenset(
    (
        *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "prelu"),
        *("hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "threshold"),
        *("clamp", "clamp_min", "clamp_max", "maximum", "minimum", "max", "min", "rrelu"),
        *("logsigmoid", "log_sigmoid", "softsign", "hardshrink", "softshrink", "tanhshrink"),
    )
)
"""Functions of one number at a time, with the other arguments fixed."""

POOLS = {
    f"{kind}max_pool{n}d{end}": bool(end)
    for kind in ("", "adaptive_")
    for n in (1, 2, 3)
    for end in ("", "_with_indices")
}
"""Max-poolings, and whether they give indices."""


def call_name(function: Any) -> tuple[str, bool]:
    """The name of a function of torch whatever its form, and whether it works in place.

    >>> call_name(torch.Tensor.__iadd__), call_name(torch.ops.aten.relu_.default)
    (('add', True), ('relu', True))
    """
    name = str(getattr(function, "__name__", function)).partition(".")[0]
    if name == "__get__":
        return name, False
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        in_place = name in ("iadd", "isub", "imul", "itruediv", "idiv", "setitem")
        return ALIASES.get(name, name), in_place
    in_place = name.endswith("_")
    name = name.removesuffix("_")
    return ALIASES.get(name, name), in_place


def _out_of_place(function: Any, name: str) -> Any:
    """What gives the same without working in place; the function itself where there is none."""
    if isinstance(function, torch._ops.OpOverload):
        packet = getattr(torch.ops.aten, name, None)
        return getattr(packet, function._overloadname, function)
    return getattr(torch, name, None) or getattr(torch.nn.functional, name, function)


WRITTEN_OUT: dict[str, Run] = {
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": heads,
    "addcmul": lambda x, a, b, *, value=1: x + a * b * value,
    "addmm": lambda x, a, b, *, beta=1, alpha=1: a.matmul(b) * alpha + x * beta,
    "baddbmm": lambda x, a, b, *, beta=1, alpha=1: a.matmul(b) * alpha + x * beta,
}
"""What stands for a function that is made of others; None where it cannot do what is asked."""


class Box:
    """A value that autograd is not to look into."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Instead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, other: Tensor, value: Box) -> Tensor:
        result: Tensor = value.value
        return result

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None]:
        return signals[0], None


def instead(value: Tensor, other: Tensor) -> Tensor:
    """The value of one tensor with the derivative of the other, which has its shape."""
    result: Tensor = _Instead.apply(other, Box(value.detach()))
    return result


def tensors_of(*arguments: Any) -> list[Tensor]:
    """All tensors in arguments, lists and dictionaries of them, in order."""
    return [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]


def put(arguments: Any, tensors: Sequence[Tensor]) -> Any:
    """The same arguments with these in place of their tensors, in order."""
    rest = iter(tensors)
    return tree_map(lambda leaf: next(rest) if isinstance(leaf, Tensor) else leaf, arguments)


def moves(tensor: Tensor) -> bool:
    """Whether a tensor depends on the image: weights are frozen, so nothing else needs it."""
    return tensor.requires_grad


class Calls(TorchFunctionMode):
    """A context in which every function of tensors that depend on the image goes by its rule."""

    def rule(self, name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What is computed in place of ``function(*args, **kwargs)``, which works on copies."""
        raise NotImplementedError

    def overwritten(self, tensor: Tensor) -> None:
        """Called before a tensor is changed in place."""

    def written(self, tensor: Tensor, result: Tensor) -> Tensor:
        """The tensor, after a result was written into it."""
        del result
        return tensor

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Go by the rule; called by torch for every function."""
        named = {
            key: value for key, value in (kwargs or {}).items() if key != "out" or value is not None
        }
        if not args and "input" in named:
            args = (named.pop("input"),)
        name, in_place = call_name(function)
        in_place |= named.get("inplace") is True
        target: Any = named.get("out", args[0] if args else None)
        changes = (in_place or "out" in named) and isinstance(target, Tensor)
        if changes:
            self.overwritten(target)
        if not any(map(moves, tensors_of(args, named))) or "out" in named or name == "setitem":
            return function(*args, **named)
        if name in WRITTEN_OUT and not changes:
            with self:
                result = WRITTEN_OUT[name](*args, **named)
            if result is not None:
                return result
        if not changes:
            return self.rule(name, function, args, named)
        if named.pop("inplace", None) is None:
            function = _out_of_place(function, name)
        result = self.rule(name, function, (target.clone(), *args[1:]), named)
        # The caller may go on with the tensor instead of with what is returned.
        return self.written(target.copy_(result), result)


@contextmanager
def exact(model: Classifier, method: str) -> Iterator[Classifier]:
    """Inside: the classifier with frozen weights and in fp32 at least.

    Half precision would round the differences and shares that rules divide by.

    Args:
        model: the classifier; in half precision a copy is made.
        method: for messages.

    Raises:
        UnsupportedError: the copy cannot be made.
    """
    network, kind = model.network, model.dtype
    if kind in (torch.float16, torch.bfloat16):
        try:
            network, kind = deepcopy(network).float(), torch.float32
        except (RuntimeError, TypeError) as error:
            raise UnsupportedError(f"{method} works on a copy of {model.name}: {error}") from error
        copy = model.replaced(network, precision="fp32", dtype=kind)
    else:
        copy = model.replaced(network, precision="fp32")
    with evaluating(copy):
        yield copy
