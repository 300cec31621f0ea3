"""RT-Sal, real-time saliency (Dabkowski and Gal 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier, differentiating, in_batches


def rt_sal(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
) -> Tensor:
    r"""The mask that a trained network reads off the classifier's feature maps, in one pass.

    .. math:: M(x, c) = |a| / (|a| + |b|),\quad (a, b) = D(\sigma(\langle f, E_c \rangle) f, f',
        \dots)

    with the classifier's feature maps f, f', ... from coarse to fine, a vector E of each class and
    a decoder D, both trained once (`training.masker`). The class is explained, not a scalar: the
    map is the same for each of them.

    Args:
        model: the classifier, with its ``masker``; one made of it (forged, randomised) has that
            of the model it was made of.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``; makes no difference.
        graph: keep the map differentiable in ``images``.
        generators: not used.
        batch_size: most images the model sees at once.

    Returns:
        ``(n, 1, h, w)`` in [0, 1]. Source: Dabkowski and Gal 2017, section 4.1, and their code.

    Raises:
        UnsupportedError: the model has no masking network, its format gives no access to layers,
            one is no map, or the masking network is made for another classifier.
    """
    del generators
    model.scalar(scalar)
    masker = model.masker
    if masker is None:
        raise UnsupportedError(
            f"{model.name} has no masking network; train one with --train or give one with --masker"
        )

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        with differentiating(part, graph=graph) as pixels, torch.set_grad_enabled(graph):
            return masker.mask(model, pixels, classes)

    return in_batches(compute, images, targets, batch_size)
