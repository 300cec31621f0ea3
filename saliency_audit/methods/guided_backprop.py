"""Guided backpropagation (Springenberg et al. 2014)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods._refusals import refuse, refuse_graph, refuse_softplus
from saliency_audit.models import Classifier, input_gradient
from saliency_audit.models.smooth import Activation
from saliency_audit.models.surrogates import Activations

OTHERS = frozenset(
    ("elu", "celu", "selu", "gelu", "silu", "mish", "hardswish", "softplus", "rrelu", "logsigmoid")
)
"""Functions that rectify in another way than ReLU: there is no agreed way back through them."""


class _Guided(torch.autograd.Function):
    """The activation, whose way back passes positive signals alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exact: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            result = exact(leaf)
            (slope,) = torch.autograd.grad(result.sum(), leaf)
        ctx.save_for_backward(slope)
        return result.detach()

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        # No clamp: on a CPU it would be taken for one of the network's.
        return slope * (signals[0] + signals[0].abs()) / 2, None


class Guide(Activations):
    """The context in which gradients are those of guided backpropagation.

    Attributes:
        guided: calls of ReLU and its kin.
        others: functions called that rectify in another way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.guided = 0
        self.others: set[str] = set()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note what rectifies in another way; called by torch for every function."""
        name = str(getattr(function, "__name__", "")).partition(".")[0].removesuffix("_")
        if name in OTHERS:
            self.others.add(name)
        return super().__torch_function__(function, types, args, kwargs)

    def replacement(
        self, name: str, activation: Activation, exact: Callable[[Tensor], Tensor], x: Tensor
    ) -> Tensor:
        """The same value, guided on the way back; gates and clips are passed like any function."""
        if not activation.rectifies:
            return exact(x)
        self.guided += 1
        result: Tensor = _Guided.apply(x, exact)
        return result


def guided_backprop(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
) -> Tensor:
    r"""Gradient whose way back through each ReLU keeps only its positive part.

    .. math:: R^l = \max(R^{l+1}, 0) \cdot \mathrm{ReLU}'(x^l)

    Of ReLU6, leaky ReLU, PReLU and what ReLU is written as (functions, in place, ``clamp``,
    ``x * (x > 0)``) likewise, with their own derivatives. Known to hardly depend on the model (it
    reconstructs edges), hence worth auditing.

    Args:
        model: the classifier; an eager module or a ``torch.export`` program with ReLU.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: not used.
        batch_size: most images the model sees at once.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar per unit of pixel value. Equals the
        gradient where every signal and weight is positive.

    Raises:
        UnsupportedError: ``graph`` was asked for, the format is TorchScript, the network runs
            softplus in place of what its layers say, or it has other rectifiers than ReLU and its
            kin, or none: they would be passed like in the gradient.
    """
    del generators
    method = "guided-backprop"
    refuse_graph(method, graph)
    refuse_softplus(method, model)
    if model.format == "torchscript":
        raise UnsupportedError(
            f"{method} replaces activations, which TorchScript does not allow: give the state "
            "dict with --arch, or a .pt2 program"
        )
    with Guide() as guide:
        saliency = input_gradient(model, images, targets, scalar=scalar, batch_size=batch_size)
    if guide.others:
        refuse(method, model, f"it rectifies with {min(guide.others)}, not with ReLU")
    if not guide.guided:
        refuse(method, model, "it has no ReLU, so the map would be the plain gradient")
    return saliency
