"""How the norms of the images of a step become one number."""

from torch import Tensor

from saliency_audit.errors import lookup

REDUCTIONS = dict.fromkeys(("squared", "per-sample", "minibatch"))


def reduced(squared: Tensor, reduction: str) -> Tensor:
    r"""One number from the squared norms :math:`s_i` of the images of a step.

    Args:
        squared: ``(n,)``, >= 0.
        reduction: "squared", :math:`\frac{1}{2n} \sum_i s_i`; "per-sample",
            :math:`\frac1n \sum_i \sqrt{s_i}`; "minibatch", :math:`\sqrt{\sum_i s_i}`, one norm
            over all images, which is :math:`\sqrt n` times the second where all are equal.

    Returns:
        A scalar. Its gradient is finite where a norm is 0, where the root's own is not.

    Raises:
        InputError: an unknown reduction.

    >>> import torch
    >>> reduced(torch.tensor([9.0, 9.0, 9.0, 9.0]), "minibatch")
    tensor(6.)
    """
    lookup("reduction", REDUCTIONS, reduction)
    if reduction == "squared":
        return squared.mean() / 2
    if reduction == "per-sample":
        return (squared + 1e-12).sqrt().mean()
    return (squared.sum() + 1e-12).sqrt()
