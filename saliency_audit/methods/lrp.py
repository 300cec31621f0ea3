"""Layer-wise relevance propagation (Bach et al. 2015), by Captum."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from captum.attr import LRP
from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, PropagationRule
from torch import Tensor, nn
from torch.nn import functional as F

from saliency_audit.methods._captum import Trace, captum_quiet, private_copy, refuse, refuse_graph
from saliency_audit.models import Classifier, in_batches

SHAPING = frozenset(
    (
        *("__get__", "__len__", "dim", "numel", "size"),
        *("cat", "concat", "contiguous", "dropout", "feature_dropout", "flatten", "permute"),
        *("reshape", "squeeze", "transpose", "unsqueeze", "view"),
    )
)
"""Functions through which relevance passes unchanged."""

COPIED = (nn.Flatten, nn.Identity, nn.Dropout2d)


class _Relevance(nn.Module):
    """Worth 1, with the given gradient in the logits: the relevance that Captum starts from."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.network = model.network
        self.reading = model.reading

    def forward(self, inputs: Tensor, relevance: Tensor) -> Tensor:
        logits = self.reading.of(self.network)(inputs)
        start = (logits * relevance).sum(1, keepdim=True)
        return start - start.detach() + 1


class _PixelBox(PropagationRule):  # type: ignore[misc]
    """The z^B rule of the first layer, whose inputs lie between two bounds (Montavon et al. 2017).

    Shares are in proportion to x w - low w+ - high w-, so a pixel has relevance for being bright
    as well as for being dark.
    """

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.low = low
        self.high = high

    def _manipulate_weights(self, module: Any, inputs: Any, outputs: Any) -> None:
        pass

    def forward_hook(self, module: Any, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        pixels = inputs[0]
        values = pixels.detach()
        bounds = [self._like(bound, values) for bound in (self.low, self.high)]
        weight = module.weight.detach()
        parts = [
            _linear(module, bound, part)
            for bound, part in zip(bounds, (weight.clamp(min=0), weight.clamp(max=0)), strict=True)
        ]
        total = (_linear(module, values, weight) - parts[0] - parts[1]).detach()
        total = total + torch.where(total < 0, -1.0, 1.0) * self.STABILITY_FACTOR
        share: list[Tensor] = []

        def leaving(relevance: Tensor) -> Tensor:
            share.append(relevance / total)
            return share[0]

        def arriving(gradient: Tensor) -> Tensor:
            relevance = values * gradient
            for part, bound in zip(parts, bounds, strict=True):
                (through,) = torch.autograd.grad(part, bound, share[0])
                relevance = relevance - bound.detach() * through
            return relevance

        pixels.hook_registered = True  # type: ignore[attr-defined]
        self._handle_input_hooks = [pixels.register_hook(arriving)]  # type: ignore[no-untyped-call]
        self._handle_output_hook = outputs.register_hook(leaving)  # type: ignore[no-untyped-call]
        return outputs.clone()

    @staticmethod
    def _like(bound: Tensor, values: Tensor) -> Tensor:
        image = bound.expand(-1, -1, *values.shape[2:]) if values.ndim == 4 else bound
        return image.reshape(1, *values.shape[1:]).expand_as(values).clone().requires_grad_()


def lrp(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    rule: Literal["z-plus", "epsilon"] = "z-plus",
) -> Tensor:
    r"""Relevance of the logits, handed down layer by layer in proportion to contributions.

    "z-plus" takes z^B with the bounds of the pixels in the first layer and :math:`\alpha=1,
    \beta=0` without biases in the others (Dombrowski et al. 2019): relevance is conserved, but for
    batch normalisation, whose bias absorbs some. "epsilon" takes :math:`\epsilon = 10^{-9}`
    everywhere, as Captum does by default, which on ReLU networks is input x gradient (Ancona et al.
    2018). Logit j starts with :math:`f_j \, \partial s_y / \partial f_j`: for the logit,
    :math:`f_y` in y and 0 elsewhere.

    Args:
        model: the classifier; must be an eager module of layers that Captum has rules for, one
            after the other.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: not used.
        batch_size: most images the model sees at once.
        rule: which rules the linear layers have.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar.

    Raises:
        UnsupportedError: ``graph`` was asked for, the format has no eager modules, a layer has no
            rule, or tensors are added or bent outside layers (residual networks).
    """
    del generators
    method = "lrp"
    refuse_graph(method, graph)
    copy, trace = private_copy(model, images, method)
    _refuse_unknown(method, model, trace)
    mean, std = (colour.to(images.dtype) for colour in (model.mean, model.std))
    shape = (1, *images.shape[1:])
    kind = copy.dtype or images.dtype

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        with torch.enable_grad():
            logits = copy(part.detach()).detach().requires_grad_()
            value = model.explained(scalar, logits, classes).sum()
            (weights,) = torch.autograd.grad(value, logits)
        bounds = [((end - mean) / std).to(kind).expand(shape) for end in (0.0, 1.0)]
        _set_rules(copy.network, trace, rule, bounds)
        with captum_quiet():
            saliency: Tensor = LRP(_Relevance(copy)).attribute(
                ((part.detach() - mean) / std).to(kind).requires_grad_(),
                additional_forward_args=(logits * weights).detach(),
            )
        return saliency.detach().to(part.dtype)

    return in_batches(compute, images, targets, batch_size)


def _refuse_unknown(method: str, model: Classifier, trace: Trace) -> None:
    known = (*SUPPORTED_LAYERS_WITH_RULES, *SUPPORTED_NON_LINEAR_LAYERS, *COPIED)
    for layer in trace.layers:
        if type(layer) not in known:
            refuse(method, model, f"Captum has no rule for {type(layer).__name__}")
    functions = sorted(trace.functions - SHAPING)
    if functions:
        refuse(method, model, f"it calls {functions[0].strip('_')} outside a layer")


def _set_rules(network: nn.Module, trace: Trace, rule: str, bounds: list[Tensor]) -> None:
    linear = [layer for layer in trace.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    for module in network.modules():
        if list(module.children()) or type(module) in SUPPORTED_NON_LINEAR_LAYERS:
            continue
        if rule == "epsilon" or module not in linear:
            module.rule = EpsilonRule()
        elif module is linear[0]:
            module.rule = _PixelBox(*bounds)
        else:
            module.rule = Alpha1_Beta0_Rule(set_bias_to_zero=True)


def _linear(module: nn.Module, inputs: Tensor, weight: Tensor) -> Tensor:
    if isinstance(module, nn.Conv2d):
        outputs: Tensor = module._conv_forward(inputs, weight, None)
        return outputs
    return F.linear(inputs, weight)
