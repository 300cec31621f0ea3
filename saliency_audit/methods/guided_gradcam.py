"""Guided Grad-CAM (Selvaraju et al. 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.methods._refusals import refuse_graph
from saliency_audit.methods.gradcam import gradcam
from saliency_audit.methods.guided_backprop import guided_backprop
from saliency_audit.models import Classifier


def guided_gradcam(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    layer: str | None = None,
) -> Tensor:
    """Guided backpropagation times Grad-CAM.

    Unlike Captum's product, which resizes by nearest neighbour, Grad-CAM is the one of
    `gradcam`: bilinear, corners aligned.

    Args:
        model: the classifier; an eager module or a ``torch.export`` program with ReLU.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: not used.
        batch_size: most images the model sees at once.
        layer: name of the layer that Grad-CAM reads; None means ``model.layer``, or the last
            spatial one.

    Returns:
        ``(n, c, h, w)``, signed, in squared units of the scalar per unit of pixel value.

    Raises:
        UnsupportedError: as for `guided_backprop` and `gradcam`.
        InputError: there is no such layer.
    """
    del generators
    refuse_graph("guided-gradcam", graph)
    guided = guided_backprop(model, images, targets, scalar=scalar, batch_size=batch_size)
    cam = gradcam(model, images, targets, scalar=scalar, batch_size=batch_size, layer=layer)
    return guided * cam
