"""LRP's rules for every function that a network calls.

Derivatives inside are relevances: what goes back through a function is not multiplied by its slope
but shared out among what went in, so that its sum stays.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from saliency_audit.methods._calls import (
    ACTIVATIONS,
    CONVOLUTIONS,
    POOLS,
    SHAPING,
    SUMMING,
    Box,
    Calls,
    Run,
    instead,
    moves,
    put,
    tensors_of,
)

EPSILON = 1e-9
"""What keeps denominators from 0, by their own sign."""

NOTHING = 1e-20
"""Sum so small that relevance over it could be too large a number."""

CHOOSING = frozenset(("where", "masked_fill", "amax", "amin", "maximum", "minimum", "max", "min"))
"""Functions whose derivative is 1 for what they choose: the winner takes all."""

GATES = frozenset(("sigmoid", "hardsigmoid", "softmax"))
"""Functions whose values are shares: as factors they are fixed."""

NORMALISATIONS = frozenset(
    (
        *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize"),
        "local_response_norm",
    )
)
"""Functions that scale by statistics, which are taken as fixed."""

MATRICES = frozenset(("matmul", "mm", "bmm", "einsum"))

_BOUNDS = "_saliency_audit_bounds"
_GATE = "_saliency_audit_gate"
_LAYER = "_saliency_audit_layer"
_INSIDE = "_saliency_audit_inside"
"""Attributes of a tensor: the least and most it can be; that it is a gate; the layer it is of; 1
where it is no padding."""


class _Shared(torch.autograd.Function):
    """The value of a call whose relevance is shared out in proportion to the terms of a sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, absorbed: Tensor, box: Box) -> Tensor:
        value, ctx.split, ctx.totals, ctx.epsilon = box.value
        ctx.save_for_backward(x)
        result: Tensor = value
        return result

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, Tensor, None]:
        (x,) = ctx.saved_tensors
        rest = signals[0]
        ours, theirs = torch.zeros_like(x), x.new_zeros(())
        for total in ctx.totals:
            terms, fixed = ctx.split(x)
            leaves = [term.detach().clone().requires_grad_() for term in (*terms, *fixed)]
            with torch.enable_grad():
                sums = total(leaves)
            slopes = torch.autograd.grad(
                sums,
                leaves,
                _over(rest, sums.detach(), ctx.epsilon),
                allow_unused=True,
                materialize_grads=True,
            )
            shares = [leaf.detach() * slope for leaf, slope in zip(leaves, slopes, strict=True)]
            ours = sum(shares[: len(terms)], ours)
            theirs = sum((share.sum() for share in shares[len(terms) :]), theirs)
            rest = torch.where(sums.detach().abs() <= NOTHING, rest, 0)
            if not rest.any():
                break
        return ours, theirs, None


class _Blocked(torch.autograd.Function):
    """The value of a call that has no rule: relevance that comes back to it is noted."""

    @staticmethod
    def forward(ctx: Any, box: Box, *inputs: Tensor) -> Any:
        ctx.note, values = box.value
        ctx.inputs = len(inputs)
        return values

    @staticmethod
    def backward(ctx: Any, *signals: Tensor | None) -> Any:
        if any(signal is not None and bool(signal.any()) for signal in signals):
            ctx.note()
        return (None,) * (1 + ctx.inputs)


def _over(relevance: Tensor, total: Tensor, epsilon: float) -> Tensor:
    """Relevance for each unit of a sum; 0 where there is nothing to share it among."""
    total = total + torch.where(total < 0, -epsilon, epsilon) if epsilon else total
    nothing = total.abs() <= NOTHING
    return torch.where(nothing, 0, relevance / torch.where(nothing, 1, total))


def _mark(tensor: Tensor, name: str, value: Any) -> Tensor:
    setattr(tensor, name, (value, tensor._version))
    return tensor


def _marked(tensor: Tensor, name: str) -> Any:
    value, version = getattr(tensor, name, (None, 0))
    return value if version == tensor._version else None


def _by_sign(x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    return [x.clamp(min=0), x.clamp(max=0)], []


def _or_flat(x: Tensor) -> Run:
    """Terms by their sign, and one for each number that is none of a padding."""
    inside = _marked(x, _INSIDE)

    def split(x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        ones = torch.ones_like(x) if inside is None else inside.expand_as(x)
        return [x.clamp(min=0), x.clamp(max=0), ones], []

    return split


class Relevance(Calls):
    """The context in which gradients are relevances.

    Args:
        plus: the z-plus rule, and that of pixels in the first layer; the epsilon rule if not.

    Attributes:
        absorbed: its gradient is the relevance that biases took, of all images together.
        unruled: functions without a rule that relevance came back to.
    """

    def __init__(self, *, plus: bool, device: torch.device) -> None:
        super().__init__()
        self.plus = plus
        self.epsilon = 0 if plus else EPSILON
        self.absorbed = torch.zeros((), device=device, requires_grad=True)
        self.unruled: set[str] = set()

    def begin(self, inputs: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The network's own input, with the least and the most that it can be."""
        return _mark(inputs, _BOUNDS, (low.expand_as(inputs), high.expand_as(inputs)))

    def written(self, tensor: Tensor, result: Tensor) -> Tensor:
        """Keep what is known of a result in the tensor that it was written into."""
        return _mark(tensor, _GATE, _marked(result, _GATE))

    def rule(self, name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The value of the call; its way back is the rule of the function."""
        given = tensors_of(args, kwargs)
        moving = [tensor for tensor in given if moves(tensor)]
        if name in SHAPING:
            return self._shaped(name, function, args, kwargs)
        first = moving[0]
        if name in ("add", "sub", "rsub"):
            return self._sum(function, args, kwargs, moving)
        if name in ("mul", "div") or name in MATRICES:
            return self._product(name, function, args, kwargs, moving)
        if name in CONVOLUTIONS and len(moving) == 1:
            return self._linear(name, function, *args, **kwargs)
        if name in SUMMING and len(moving) == 1:
            return self._summed(lambda x: function(x, *args[1:], **kwargs), first)
        if name in NORMALISATIONS and len(moving) == 1:
            return self._normalised(name, function, args, kwargs)
        if name in POOLS or name in CHOOSING:
            return function(*args, **kwargs)
        with torch.no_grad():
            value = function(*args, **kwargs)
        one_to_one = isinstance(value, Tensor) and value.shape == first.shape
        if one_to_one and len(moving) == 1 and (name in ACTIVATIONS or name in ("softmax", "neg")):
            return _mark(instead(value, first), _GATE, name in GATES)
        return self._blocked(name, value, moving)

    def _blocked(self, name: str, value: Any, moving: list[Tensor]) -> Any:
        def block(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
                return leaf
            return _Blocked.apply(Box((lambda: self.unruled.add(name), leaf)), *moving)

        return tree_map(block, value)

    def _shaped(self, name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        given = tensors_of(args, kwargs)
        result = function(*args, **kwargs)
        outputs = tensors_of(result)
        if all(_marked(tensor, _GATE) for tensor in given):
            for output in outputs:
                _mark(output, _GATE, True)
        if name in ("pad", "constant_pad_nd"):
            ones = torch.ones_like(args[0][:1])
            _mark(result, _INSIDE, function(ones, *args[1:], **kwargs))
        bounds = [_marked(tensor, _BOUNDS) for tensor in given]
        if outputs and all(bound is not None for bound in bounds):
            ends = []
            for end in (0, 1):
                new_args, new_kwargs = put((args, kwargs), [bound[end] for bound in bounds])
                ends.append(tensors_of(function(*new_args, **new_kwargs)))
            for output, *pair in zip(outputs, *ends, strict=True):
                _mark(output, _BOUNDS, tuple(pair))
        return result

    def _share(self, value: Tensor, x: Tensor, split: Run, *totals: Run) -> Tensor:
        """What one total leaves without a term to go to is shared out by the next."""
        box = Box((value, split, totals, self.epsilon))
        result: Tensor = _Shared.apply(x, self.absorbed, box)
        return result

    def _summed(self, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """A function with positive weights: among what has the sign of the sum, if z-plus."""
        with torch.no_grad():
            value = run(x)
        if not self.plus:
            return self._share(value, x, lambda x: ([x], []), lambda leaves: run(leaves[0]))

        def total(leaves: Sequence[Tensor]) -> Tensor:
            return torch.where(value < 0, run(leaves[1]), run(leaves[0]))

        return self._share(value, x, _by_sign, total)

    def _sum(
        self, function: Any, args: Any, kwargs: dict[str, Any], moving: list[Tensor]
    ) -> Tensor:
        with torch.no_grad():
            value = function(*args, **kwargs)
        if len(moving) == 1 and self.plus:
            return instead(value, moving[0].expand_as(value))
        with torch.no_grad():
            none = [torch.zeros_like(x) if isinstance(x, Tensor) else 0 for x in args[:2]]
            terms = [function(args[0], none[1], **kwargs), function(none[0], args[1], **kwargs)]
            if self.plus:
                terms = [torch.where(value < 0, t.clamp(max=0), t.clamp(min=0)) for t in terms]
            total = terms[0] + terms[1]
            shares = [_over(term, total, self.epsilon) for term in terms]
        takers = [x if isinstance(x, Tensor) and moves(x) else self.absorbed for x in args[:2]]
        return instead(value, takers[0] * shares[0] + takers[1] * shares[1])

    def _product(
        self, name: str, function: Any, args: Any, kwargs: dict[str, Any], moving: list[Tensor]
    ) -> Tensor:
        given = tensors_of(args, kwargs)
        places = [place for place, tensor in enumerate(given) if moves(tensor)]
        gates = [place for place in places if _marked(given[place], _GATE)]
        if len(places) == 2 and name == "div":
            places = places[:1]
        elif len(places) == 2 and len(gates) == 1:
            places.remove(gates[0])
        with torch.no_grad():
            value = function(*args, **kwargs)
        if name not in MATRICES:
            parts = [given[place].expand_as(value) for place in places]
            return instead(value, sum(parts[1:], parts[0]) / len(parts))

        def run(tensors: list[Tensor]) -> Tensor:
            new_args, new_kwargs = put((args, kwargs), tensors)
            result: Tensor = function(*new_args, **new_kwargs)
            return result

        return sum(
            (self._factor(value, run, given, place) / len(places) for place in places[1:]),
            self._factor(value, run, given, places[0]) / len(places),
        )

    def _factor(self, value: Tensor, run: Run, given: list[Tensor], place: int) -> Tensor:
        """A product of matrices as a linear layer of one of them, the others being fixed."""
        fixed = [tensor.detach() for tensor in given]

        def product(factor: Tensor, others: Callable[[Tensor], Tensor]) -> Tensor:
            tensors = [others(tensor) for tensor in fixed]
            tensors[place] = factor
            result: Tensor = run(tensors)
            return result

        if not self.plus:
            return self._share(
                value, given[place], lambda x: ([x], []), lambda x: product(x[0], lambda t: t)
            )
        return self._share(
            value,
            given[place],
            _or_flat(given[place]),
            lambda x: product(x[0], _above) + product(x[1], _below),
            lambda x: product(x[0], _below) + product(x[1], _above),
            lambda x: product(x[2], torch.ones_like),
        )

    def _linear(
        self,
        name: str,
        function: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *settings: Any,
        **named: Any,
    ) -> Tensor:
        def layer(inputs: Tensor, weights: Tensor, biases: Tensor | None = None) -> Tensor:
            result: Tensor = function(inputs, weights, biases, *settings, **named)
            return result

        with torch.no_grad():
            value = layer(x, weight, bias)
        if not self.plus:
            return self._share(
                value,
                x,
                lambda x: ([x], [] if bias is None else [bias]),
                lambda leaves: layer(leaves[0], weight, *leaves[1:]),
            )
        result = self._positive(value, x, weight, layer)
        if "transpose" in name or (len(settings) > 3 and settings[3] is True):
            return result
        return _mark(result, _LAYER, (x, weight, layer))

    def _positive(self, value: Tensor, x: Tensor, weight: Tensor, layer: Run) -> Tensor:
        """In proportion to positive terms, else to negative ones, else equally; z^B of pixels."""
        above, below = _above(weight), _below(weight)
        bounds = _marked(x, _BOUNDS)
        if bounds is None:
            return self._share(
                value,
                x,
                _or_flat(x),
                lambda x: layer(x[0], above) + layer(x[1], below),
                lambda x: layer(x[0], below) + layer(x[1], above),
                lambda x: layer(x[2], torch.ones_like(weight)),
            )
        return self._share(
            value,
            x,
            lambda x: ([x, *bounds], []),
            lambda x: layer(x[0], weight) - layer(x[1], above) - layer(x[2], below),
        )

    def _normalised(self, name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        x = args[0]
        with torch.no_grad():
            value = function(*args, **kwargs)
        if name != "batch_norm":
            return instead(value, x)
        with torch.no_grad():
            scale, shift = _affine(function, *args, **kwargs)
            channels = (-1, *[1] * (x.ndim - 2))
        made_by = _marked(x, _LAYER)
        if made_by is not None and (made_by[1].ndim > 2 or x.ndim == 2):
            before, weight, layer = made_by
            scaled = weight * scale.view(-1, *[1] * (weight.ndim - 1))
            return self._positive(value, before, scaled, layer)
        if self.plus:
            return instead(value, x)
        with torch.no_grad():
            terms = [x * scale.view(channels), shift.view(channels)]
            shares = [_over(term, value, self.epsilon) for term in terms]
        return instead(value, x * shares[0] + self.absorbed * shares[1])


def _above(tensor: Tensor) -> Tensor:
    return tensor.clamp(min=0)


def _below(tensor: Tensor) -> Tensor:
    return tensor.clamp(max=0)


def _affine(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """What a batch normalisation multiplies each channel by, and what it adds."""
    order = ["weight", "bias", "running_mean", "running_var", "training", "momentum", "eps"]
    if function is F.batch_norm:
        order = ["running_mean", "running_var", "weight", "bias", *order[4:]]
    given = dict(zip(order, args, strict=False)) | kwargs
    scale = (given["running_var"] + given.get("eps", 1e-5)).rsqrt()
    if given.get("weight") is not None:
        scale = scale * given["weight"]
    shift = -given["running_mean"] * scale
    return scale, shift if given.get("bias") is None else shift + given["bias"]
