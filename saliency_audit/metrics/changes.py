"""How far an image, and what a model makes of it, have changed."""

import torch
from torch import Tensor

from saliency_audit.outputs import SOFTMAX, Outputs


def prediction_kept(logits: Tensor, reference: Tensor, *, outputs: Outputs = SOFTMAX) -> Tensor:
    """1 where both rows of logits have their largest entry in the same place, else 0.

    Args:
        logits: ``(n, classes)``; more classes than ``reference`` has count as changed when one
            of the additional ones wins.
        reference: ``(n, classes)``.
        outputs: how predictions are read off logits; of those that do not exclude each other it
            is 1 where the same ones are above one half.

    Returns:
        ``(n,)`` float64, 0 or 1; NaN where a logit is not finite.

    >>> prediction_kept(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 3.0]]))
    tensor([1.], dtype=torch.float64)
    """
    kept = (~outputs.changed(logits, outputs.prediction(reference))).double()
    return kept.where(logits.isfinite().all(1) & reference.isfinite().all(1), torch.nan)


def prob_change(logits: Tensor, reference: Tensor, *, outputs: Outputs = SOFTMAX) -> Tensor:
    r"""Largest change of a class probability, :math:`\max_i |p_i - p'_i|`.

    The softmax is taken in double precision: what is measured is the models' difference, not the
    softmax's round-off.

    Args:
        logits: ``(n, classes)``. Classes that ``reference`` does not have are compared with 0.
        reference: ``(n, classes)``.
        outputs: how probabilities are read off logits.

    Returns:
        ``(n,)`` float64 in [0, 1].

    >>> prob_change(torch.tensor([[7.0, 7.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([0.], dtype=torch.float64)
    """
    p, q = (outputs.probabilities(values.double()) for values in (logits, reference))
    change = (p[:, : q.shape[1]] - q).abs().amax(1)
    return change if p.shape == q.shape else change.maximum(p[:, q.shape[1] :].amax(1))


def logit_change(logits: Tensor, reference: Tensor) -> Tensor:
    """Largest absolute change of a logit: |g(x)| of a shift.

    A shift costs the fp32 softmax precision: probabilities deviate by about 1e-6 at 1e2 and by
    1e-5 at 1e3.

    Args:
        logits: ``(n, classes)``. Classes that ``reference`` does not have are left out.
        reference: ``(n, classes)``.

    Returns:
        ``(n,)`` float64, >= 0.

    >>> logit_change(torch.tensor([[7.0, 8.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([8.], dtype=torch.float64)
    """
    return (logits[:, : reference.shape[1]].double() - reference.double()).abs().amax(1)


def confidence_change(logits: Tensor, reference: Tensor, *, outputs: Outputs = SOFTMAX) -> Tensor:
    """Probability of the class that is likeliest in the reference, now minus before.

    Args:
        logits: ``(n, classes)``.
        reference: ``(n, classes)``, whose largest entry is that class.
        outputs: how probabilities are read off logits.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a logit is not finite.

    >>> confidence_change(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 60.0]]))
    tensor([-0.5000], dtype=torch.float64)
    """
    own = reference.argmax(1, keepdim=True)
    now, before = (
        outputs.probabilities(values.double()).gather(1, own)[:, 0]
        for values in (logits, reference)
    )
    finite = logits.isfinite().all(1) & reference.isfinite().all(1)
    return (now - before).where(finite, torch.nan)


def loss_change(loss: Tensor, reference: Tensor) -> Tensor:
    """Absolute change of each image's loss.

    Args:
        loss: ``(n,)``, in nats.
        reference: ``(n,)``.

    Returns:
        ``(n,)`` float64, >= 0, in nats.

    >>> loss_change(torch.tensor([1.0]), torch.tensor([1.5]))
    tensor([0.5000], dtype=torch.float64)
    """
    return (loss.double() - reference.double()).abs()


def loss_gradient_change(gradient: Tensor, reference: Tensor) -> Tensor:
    r"""Relative change :math:`\|g - g'\|_2 / \|g'\|_2` of each image's loss gradient.

    Args:
        gradient: ``(n, ...)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64, >= 0; 1 is a change as large as the gradient itself. NaN where the
        reference is zero.

    >>> loss_gradient_change(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 1.0]]))
    tensor([1.], dtype=torch.float64)
    """
    g, before = gradient.flatten(1).double(), reference.flatten(1).double()
    norm = before.norm(dim=1)
    change: Tensor = (g - before).norm(dim=1) / norm
    return change.where(norm > 0, torch.nan)


def gradient_bound_share(gradient: Tensor, reference: Tensor, *, bound: float) -> Tensor:
    r"""L1 norm of the change of each image's loss gradient over its bound.

    The bound is :math:`m \epsilon \|u\|_1` for a ripple of that size and frequency.

    Args:
        gradient: ``(n, ...)``.
        reference: same shape.
        bound: largest L1 norm that theory allows.

    Returns:
        ``(n,)`` float64, >= 0; above 1 the theory would be wrong.

    >>> gradient_bound_share(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2), bound=6.0)
    tensor([0.5000], dtype=torch.float64)
    """
    return (gradient.double() - reference.double()).flatten(1).abs().sum(1) / bound


def l2_distance(images: Tensor, reference: Tensor) -> Tensor:
    r"""Length of the change of an image, :math:`\|x' - x\|_2`.

    Args:
        images: ``(n, c, h, w)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64, >= 0, in the units of the images; NaN where one is not finite.

    >>> l2_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([5.], dtype=torch.float64)
    """
    change = (images.double() - reference.double()).flatten(1)
    length: Tensor = change.norm(dim=1)
    return length.where(change.isfinite().all(1), torch.nan)


def linf_distance(images: Tensor, reference: Tensor) -> Tensor:
    r"""Largest change of a value, :math:`\|x' - x\|_\infty`.

    Args:
        images: ``(n, c, h, w)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64, >= 0, in the units of the images; NaN where one is not finite.

    >>> linf_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([4.], dtype=torch.float64)
    """
    change = (images.double() - reference.double()).flatten(1)
    return change.abs().amax(1).where(change.isfinite().all(1), torch.nan)
