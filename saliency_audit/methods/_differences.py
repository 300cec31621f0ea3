r"""DeepLIFT's multipliers of every function that a network calls.

The multiplier of a function is its mean gradient on the straight way between what goes in at the
baseline and at the image, so what goes in, times it, sums to what comes out. Of a function of one
number that is the rescale rule; of a product the mean of the other factor.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten, tree_unflatten

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
from saliency_audit.methods._normalised import NORMALISATIONS

NEAR = 1e-6
"""Difference below which the slope between two inputs is taken to be the gradient."""

ELEMENTWISE = ACTIVATIONS | frozenset(
    (
        *("exp", "expm1", "exp2", "log", "log1p", "log2", "sqrt", "rsqrt", "reciprocal", "rdiv"),
        *("round", "floor", "ceil", "trunc", "frac", "sign", "fmod", "remainder"),
        *("abs", "square", "pow", "rpow", "erf", "sin", "cos", "logit", "mul", "div", "where"),
    )
)
"""Functions of one number at a time, with the other arguments fixed."""

LINEAR = SHAPING | SUMMING | {"add", "sub", "rsub", "neg", "batch_norm", "native_batch_norm"}
FACTORS = frozenset(("mul", "div", "where", "masked_fill"))
"""Functions that are linear in their first tensor where the others are those of the baseline."""

MATRICES = CONVOLUTIONS | {"matmul", "mm", "bmm", "einsum", "addmm", "baddbmm"}
"""Functions that are linear in each of two tensors."""


NODES, WEIGHTS = (
    (numbers + shift) / 2 for numbers, shift in zip(leggauss(16), (1, 0), strict=True)
)
"""Gauss-Legendre points on [0, 1], for functions whose mean gradient has no closed form."""


class _Mean(torch.autograd.Function):
    """A function whose way back is its mean gradient between two ends, by quadrature."""

    @staticmethod
    def forward(ctx: Any, box: Box, *ends: Tensor) -> Any:
        ctx.note, ctx.run, ctx.starts = box.value
        ctx.save_for_backward(*ends)
        return tuple(output.detach() for output in ctx.run(ends))

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> Any:
        ends = ctx.saved_tensors
        total = [torch.zeros_like(end) for end in ends]
        for share, weight in zip(NODES.tolist(), WEIGHTS.tolist(), strict=True):
            points = [
                (start + share * (end - start)).requires_grad_()
                for start, end in zip(ctx.starts, ends, strict=True)
            ]
            with torch.enable_grad():
                outputs = ctx.run(points)
            gradients = torch.autograd.grad(
                outputs, points, signals, allow_unused=True, materialize_grads=True
            )
            for sums, gradient in zip(total, gradients, strict=True):
                sums.add_(gradient, alpha=weight)
        with torch.no_grad():
            after, before = ctx.run(ends), ctx.run(ctx.starts)
        gap = sum(((a - b) * s).sum() for a, b, s in zip(after, before, signals, strict=True))
        for sums, end, start in zip(total, ends, ctx.starts, strict=True):
            gap = gap - (sums * (end - start)).sum()
        ctx.note(abs(float(gap)))
        return None, *total


class Differences(Calls):
    """The context in which gradients are multipliers between a baseline and the image.

    To be entered for a pass of the baselines, which is remembered, and then, after `replay`, for
    one of as many images.

    Attributes:
        apart: where the two passes did not call the same functions; empty if they did.
        gaps: of functions whose mean gradient was taken at some points alone, what is missing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.apart = ""
        self.gaps: dict[str, float] = {}
        self._calls: list[tuple[str, list[Tensor]]] = []
        self._places: dict[int, list[tuple[list[Tensor], int]]] = {}
        self._next: Iterator[tuple[str, list[Tensor]]] | None = None

    def replay(self) -> None:
        """From now on, calls are those of the images."""
        self._next = iter(self._calls)
        self._places.clear()

    def suspect(self) -> str:
        """What most likely breaks summation to delta, after the gradient was taken."""
        if not self.gaps:
            return "a function of its own, which is no call of torch"
        name, gap = max(self.gaps.items(), key=lambda item: item[1])
        return f"{name}, of which {len(NODES)} points leave out {gap:.2g}"

    def overwritten(self, tensor: Tensor) -> None:
        """Keep what was remembered of a tensor that is now changed in place."""
        if self._next is None:
            for kept, place in self._places.pop(_storage(tensor), []):
                kept[place] = kept[place].clone()

    def rule(self, name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The function itself on a baseline; on an image with the multiplier for its derivative."""
        given = tensors_of(args, kwargs)
        moving = [place for place, tensor in enumerate(given) if moves(tensor)]
        fixed = name in LINEAR or (name in MATRICES and len(moving) == 1)
        if fixed or (name in FACTORS and len(given) == 1 and moves(args[0])):
            return function(*args, **kwargs)
        if self._next is None:
            kept = [tensor.detach() for tensor in given]
            result = function(*args, **kwargs)
            self._calls.append((name if any(map(moves, tensors_of(result))) else "", kept))
            for place, tensor in enumerate(kept):
                self._places.setdefault(_storage(tensor), []).append((kept, place))
            return result
        before, starts = next(self._next, ("nothing", []))
        if not before:  # what comes out has no derivative: comparisons, sizes
            return function(*args, **kwargs)
        if before != name or [s.shape for s in starts] != [t.shape for t in given]:
            self.apart = self.apart or (
                f"it calls {name} on the image where it calls {before} on the baseline"
            )
            return function(*args, **kwargs)

        if name in POOLS and len(given) == 1:
            return _pooled(name, args, kwargs, *starts)
        if name in NORMALISATIONS and moving == [0] and moves(args[0]):
            normalised = NORMALISATIONS[name](args[0], starts[0], *args[1:], **kwargs)
            if normalised is not None:
                return normalised

        def run(tensors: Sequence[Tensor]) -> Any:
            new_args, new_kwargs = put((args, kwargs), tensors)
            return function(*new_args, **new_kwargs)

        return self._multiplied(name, run, given, starts, moving)

    def _multiplied(
        self, name: str, run: Run, given: list[Tensor], starts: list[Tensor], moving: list[int]
    ) -> Any:
        if len(moving) == 1:
            (place,) = moving
            others = [
                tensor is start or torch.equal(tensor, start)
                for i, (tensor, start) in enumerate(zip(given, starts, strict=True))
                if i != place
            ]
            if name in FACTORS and all(others) and (name != "div" or place == 0):
                return run(given)
            if name in ELEMENTWISE:
                found = _rescaled(run, given, starts, place)
                if found is not None:
                    return found
        elif name == "div" and len(moving) == 2:
            return _quotient(given, starts)
        elif name in ("maximum", "minimum", "max", "min") and len(moving) == len(given) == 2:
            return _larger(run, given, starts)
        elif (name in MATRICES or name == "mul") and len(moving) == 2:
            return _product(run, given, starts, moving)
        return self._averaged(name, run, given, starts, moving)

    def _averaged(
        self, name: str, run: Run, given: list[Tensor], starts: list[Tensor], moving: list[int]
    ) -> Any:
        fixed = [tensor.detach() for tensor in given]
        with torch.no_grad():
            whole, shape = tree_flatten(run(fixed))
        smooth = [i for i, o in enumerate(whole) if isinstance(o, Tensor) and o.is_floating_point()]

        def smooth_part(ends: Sequence[Tensor]) -> list[Tensor]:
            tensors = list(fixed)
            for place, end in zip(moving, ends, strict=True):
                tensors[place] = end
            outputs, _ = tree_flatten(run(tensors))
            return [outputs[i] for i in smooth]

        ends = [given[place] for place in moving]

        def note(gap: float) -> None:
            self.gaps[name] = self.gaps.get(name, 0.0) + gap

        box = Box((note, smooth_part, [starts[place] for place in moving]))
        for i, output in zip(smooth, _Mean.apply(box, *ends), strict=True):
            whole[i] = output
        return tree_unflatten(whole, shape)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _slope(change: Tensor, difference: Tensor, gradient: Tensor | float) -> Tensor:
    near = difference.abs() < NEAR
    return torch.where(near, gradient, change / torch.where(near, 1.0, difference))


def _rescaled(run: Run, given: list[Tensor], starts: list[Tensor], place: int) -> Tensor | None:
    """The rescale rule; None where what comes out does not belong to what goes in one to one."""
    x, start = given[place], starts[place]
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        value = run([*given[:place], leaf, *given[place + 1 :]])
    if not isinstance(value, Tensor) or value.shape != x.shape:
        return None
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    with torch.no_grad():
        value = value.detach()
        multiplier = _slope(value - run(starts), leaf - start, gradient)
    return instead(value, x * multiplier)


def _product(run: Run, given: list[Tensor], starts: list[Tensor], moving: list[int]) -> Tensor:
    """Each factor times the mean of the other, which is exact."""
    with torch.no_grad():
        value = run(given)
    halves = []
    for place, other in (moving, moving[::-1]):
        tensors = [tensor.detach() for tensor in given]
        tensors[other] = (tensors[other] + starts[other]) / 2
        tensors[place] = given[place]
        halves.append(run(tensors))
    return instead(value, halves[0] + halves[1])


def _quotient(given: list[Tensor], starts: list[Tensor]) -> Tensor:
    """The product with the reciprocal, whose own multiplier is -1 / (b b')."""
    a, b = given
    before, below = starts
    with torch.no_grad():
        value = a / b
        mean = (1 / b + 1 / below) / 2
        slope = -(a + before) / 2 / (b * below)
    return instead(value, a * mean + b * slope)


def _larger(run: Run, given: list[Tensor], starts: list[Tensor]) -> Tensor:
    """One of two: the other plus what their difference gives."""
    a, b = given
    with torch.no_grad():
        value = run(given)
        change = (value - b) - (run(starts) - starts[1])
        share = _slope(change, (a - b) - (starts[0] - starts[1]), (value == a).to(a.dtype))
    return instead(value, b + (a - b) * share)


def _pooled(name: str, args: Any, kwargs: dict[str, Any], start: Tensor) -> Any:
    """All of the change to the winner of the larger of the two maxima, as in the paper's code."""
    kind = name.removesuffix("_with_indices")
    pool, dimensions = getattr(F, kind), int(kind[-2])
    named = dict(kwargs)
    with_indices = named.pop("return_indices", POOLS[name])
    x, *settings = args or (named.pop("input"),)
    if len(settings) > (1 if kind.startswith("adaptive") else 5):
        with_indices = settings.pop()
    with torch.no_grad():
        value, indices = pool(x, *settings, **named, return_indices=True)
        before, others = pool(start, *settings, **named, return_indices=True)
        winners = torch.where(value > before, indices, others).flatten(-dimensions)
        chosen = start.flatten(-dimensions).gather(-1, winners)
    taken = x.flatten(-dimensions).gather(-1, winners)
    share = _slope((value - before).flatten(-dimensions), taken.detach() - chosen, 1.0)
    result = instead(value, (taken * share).view_as(value))
    return (result, indices) if with_indices else result
