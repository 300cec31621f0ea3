"""FullGrad (Srinivas & Fleuret 2019), with the sum and the scaling of its authors' code."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier, differentiating, in_batches

TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}
"""Largest relative gap in completeness at which the map is still shown, by precision."""

PIECEWISE_LINEAR = (nn.ReLU6, nn.Hardtanh)
SEEN = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, *PIECEWISE_LINEAR)
BIASED = (
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm2d, nn.LocalResponseNorm),
    *(nn.MultiheadAttention, nn.Softmax, nn.Mish, nn.Hardsigmoid, nn.SELU, nn.CELU, nn.LogSigmoid),
    *(nn.Conv1d, nn.Conv3d, nn.ConvTranspose2d),
)
SMOOTH = (nn.Softplus, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish)


def fullgrad(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    implicit: bool = False,
) -> Tensor:
    r"""Input term plus the bias terms of all layers that are maps.

    .. math:: \psi(z \odot \nabla_z s_y)
        + \sum_l \sum_c \mathrm{up}\,\psi(b_l \odot \partial s_y / \partial z_l)_c

    with z the network's own input and :math:`\psi` the magnitude, scaled to [0, 1] per image and
    layer; summed over channels, resized bilinearly, corners aligned. Biases of linear layers have
    no place in the image and are left out of the sum, though not of the check below; those of one
    that runs at each position of ``(n, h, w, c)`` have, as those of a 1x1 convolution.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``; completeness is then not checked, since
            a smooth surrogate of the network breaks it.
        generators: not used.
        batch_size: most images the model sees at once.
        implicit: count the implicit biases of smooth activations (see `fullgrad_terms`).

    Returns:
        ``(n, 1, h, w)``, >= 0, without unit.

    Raises:
        UnsupportedError: the format gives no access to layers, or the terms do not add up to what
            they decompose, so the network has biases that this method does not see.
    """
    del generators

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        inputs, biases, whole = fullgrad_terms(
            model, part, classes, scalar=scalar, graph=graph, implicit=implicit
        )
        if len(part) > 1 and any(len(bias) != len(part) for bias in biases):
            # Windows of tokens, say, in an order that only the network knows.
            ones = zip(torch.split(part, 1), torch.split(classes, 1), strict=True)
            return torch.cat([compute(image, one) for image, one in ones])
        if not graph and (gap := _gap(model, inputs, biases, whole)):
            every = partial(fullgrad_terms, model, part, classes, scalar=scalar, implicit=True)
            hint = "" if implicit or _gap(model, *every()) else " (--implicit-bias counts these)"
            raise UnsupportedError(
                f"FullGrad does not hold for {model.name}: {gap}; "
                f"{_what_else(model.network, implicit)}{hint}, and it needs a network of "
                "convolutions, linear layers, batch normalisation, ReLU and pooling"
            )
        saliency = _scaled(inputs).sum(1, keepdim=True)
        for bias in biases:
            if bias.ndim == 4 and len(bias) == len(part):
                saliency = saliency + F.interpolate(
                    _scaled(bias).sum(1, keepdim=True),
                    size=part.shape[-2:],
                    mode="bilinear",
                    align_corners=True,
                )
        return saliency.to(part.dtype)

    return in_batches(compute, images, targets, batch_size)


def fullgrad_terms(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    implicit: bool = False,
) -> tuple[Tensor, list[Tensor], Tensor]:
    r"""The decomposition: input term, bias terms, and what they add up to.

    Biases are those of convolutions and linear layers, :math:`\beta - \gamma \mu / \sigma` of batch
    normalisation, and :math:`\phi(z) - z \phi'(z)` of activations: the part of their output
    that is not proportional to their input. It is 0 for ReLU and max-pooling, constant on each
    linear piece of ReLU6, and counted for smooth activations only if ``implicit``.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the terms differentiable in ``images``.
        implicit: count the implicit biases of smooth activation modules.

    Returns:
        ``(n, c, h, w)`` input term; a list of ``(n, ...)`` bias terms, one for each run of each
        layer, channels before positions (windows of an image may stand beside each other:
        ``(n k, ...)``); ``(n,)`` :math:`\sum_j f_j \, \partial s_y / \partial f_j`, which is
        :math:`f_y` for the logit. All in units of the scalar.

    Raises:
        UnsupportedError: the network is no eager module, so its layers cannot be told apart.
    """
    if model.format != "module":
        raise UnsupportedError(
            f"FullGrad must know what each layer is, which {model.format} programs do not tell: "
            "give the state dict with --arch"
        )
    with differentiating(images, graph=graph) as pixels:
        with _recorded(model.network, implicit) as (outputs, activations):
            logits = model(pixels)
        value = model.explained(scalar, logits, targets).sum()
        at = [pixels, logits, *(z for _, z in outputs), *(t for pair in activations for t in pair)]
        gradients = iter(
            torch.autograd.grad(
                value, at, create_graph=graph, allow_unused=True, materialize_grads=True
            )
        )
        inputs = (pixels - model.mean.to(pixels.dtype)) * next(gradients)
        whole = (logits * next(gradients)).sum(1)
        biases = [_channels_first(bias, bias * next(gradients)) for bias, _ in outputs]
        for z, activation in activations:
            through_input, through_output = next(gradients), next(gradients)
            biases.append(activation * through_output - z * through_input)
    if graph:
        return inputs, biases, whole
    return inputs.detach(), [bias.detach() for bias in biases], whole.detach()


@contextmanager
def _recorded(
    network: nn.Module, implicit: bool
) -> Iterator[tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]]:
    """Inside, forwards note (bias, output) of linear layers and (input, output) of activations."""
    outputs: list[tuple[Tensor, Tensor]] = []
    activations: list[tuple[Tensor, Tensor]] = []
    entered: list[Tensor] = []
    curved = (*PIECEWISE_LINEAR, *SMOOTH) if implicit else PIECEWISE_LINEAR

    def note_output(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        bias = _bias(module, output)
        # What depends on no image, such as a table of positions, has no gradient to weigh.
        if bias is None or not output.requires_grad:
            return output
        outputs.append((bias, output))
        # The network goes on with a copy: an in-place ReLU must not change what was kept.
        return output.clone()

    def note_input(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not args[0].requires_grad:
            return None
        # A node of its own, for the gradient that flows through this activation alone.
        entered.append(args[0].clone())
        in_place = getattr(module, "inplace", False)
        return (entered[-1].clone() if in_place else entered[-1], *args[1:])

    def note_activation(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not args[0].requires_grad:
            return output
        activations.append((entered.pop(), output))
        return output.clone()

    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.BatchNorm1d):
            handles.append(module.register_forward_hook(note_output))
        elif isinstance(module, curved):
            handles.append(module.register_forward_pre_hook(note_input))
            handles.append(module.register_forward_hook(note_activation))
    try:
        yield outputs, activations
    finally:
        for handle in handles:
            handle.remove()


def _bias(layer: nn.Module, output: Tensor) -> Tensor | None:
    """What the layer adds to its linear part, shaped to multiply its output."""
    bias = layer.bias
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        if layer.running_mean is None or layer.running_var is None:
            raise UnsupportedError("FullGrad needs batch normalisation with running statistics")
        scale = (layer.running_var + layer.eps).rsqrt()
        if layer.weight is not None:
            scale = scale * layer.weight
        shift = -layer.running_mean * scale
        bias = shift if layer.bias is None else layer.bias + shift
    if not isinstance(bias, Tensor):
        return None
    return bias if isinstance(layer, nn.Linear) else bias.view(-1, *(1,) * (output.ndim - 2))


def _channels_first(bias: Tensor, term: Tensor) -> Tensor:
    """The term of a linear layer at each position, ``(n, h, w, c)``, as that of a convolution."""
    return term.permute(0, 3, 1, 2) if bias.ndim == 1 and term.ndim == 4 else term


def _gap(model: Classifier, inputs: Tensor, biases: list[Tensor], whole: Tensor) -> str:
    """How the terms of the worst image fail to add up; empty where all do."""
    terms = [term.reshape(len(whole), -1) for term in (inputs, *biases)]
    total = sum((term.sum(1) for term in terms), torch.zeros_like(whole))
    # Round-off grows with what was added up, however much of it cancels.
    size = sum((term.abs().sum(1) for term in terms), torch.zeros_like(whole))
    gap = (total - whole).abs() - 1e-6 * size
    tolerance = TOLERANCE["bf16" if model.coarse else "fp32"]
    if not bool((gap > tolerance * whole.abs()).any()):
        return ""
    worst = int(((total - whole).abs() / whole.abs()).argmax())
    return f"its terms add up to {total[worst]:.4g} instead of {whole[worst]:.4g}"


def _what_else(network: nn.Module, implicit: bool) -> str:
    """Which layers have biases that are not seen."""
    seen = (*SEEN, *SMOOTH) if implicit else SEEN
    kinds = {
        type(module).__name__
        for module in network.modules()
        if isinstance(module, (*SMOOTH, *BIASED)) and not isinstance(module, seen)
    }
    names = ", ".join(sorted(kinds)) or "what the network calls as functions"
    return f"{names} {'has' if len(kinds) < 2 else 'have'} biases that it does not see"


def _scaled(term: Tensor) -> Tensor:
    magnitude = term.abs()
    flat = magnitude.flatten(1)
    shape = (-1, *(1,) * (term.ndim - 1))
    low, high = flat.amin(1).view(shape), flat.amax(1).view(shape)
    return (magnitude - low) / (high - low + 1e-6)
