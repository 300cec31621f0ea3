"""Does the prediction survive when an image is shown through a map?"""

from typing import Literal, get_args

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined, magnitude
from saliency_audit.metrics.changes import prediction_kept
from saliency_audit.metrics.fill import fill_name, filled
from saliency_audit.metrics.perturbation import logits
from saliency_audit.metrics.view import Measured, View
from saliency_audit.outputs import SOFTMAX, Outputs

Opacity = Literal["percentile99", "minmax", "none"]
"""What a map is scaled to [0, 1] by: from its least value to its 99th percentile or to its
largest; or not at all, for maps that are masks."""


def revealed(
    images: Tensor, saliency: Tensor, fill: Tensor, *, opacity: Opacity = "percentile99"
) -> Tensor:
    """Each image as far as its map lets it through: ``fill + m (images - fill)``.

    Args:
        images: ``(n, c, h, w)``.
        saliency: ``(n, h, w)``, >= 0, or ``(n, c, h, w)``, one for each colour.
        fill: ``(1, c, 1, 1)``, the colour of what is hidden, or ``(n, c, h, w)``, pictures of it;
            the mean colour is the 0 of the network's own input, with which P2 multiplies.
        opacity: how the map becomes m.

    Returns:
        ``(n, c, h, w)``; NaN where the map is undefined (constant, NaN or infinite).

    >>> revealed(torch.ones(1, 1, 1, 2), torch.tensor([[[0.0, 3.0]]]), torch.zeros(1, 1, 1, 1))
    tensor([[[[0., 1.]]]])
    """
    flat = saliency.flatten(1).double()
    if opacity != "none":
        low, top = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
        if opacity == "percentile99":
            cut = flat.nan_to_num().quantile(0.99, dim=1, keepdim=True)
            top = cut.where(cut > low, top)
        flat = (flat - low) / (top - low)
    mask = flat.clamp(0, 1).view(len(images), -1, *saliency.shape[-2:]).to(images.dtype)
    defined = is_defined(saliency).view(-1, 1, 1, 1)
    return (fill + mask * (images - fill)).where(defined, torch.nan)


def seen_through(saliency: Tensor, opacity: Opacity) -> Tensor:
    """What of maps an image is shown through: magnitudes, or masks of each colour as they are.

    Args:
        saliency: ``(n, c, h, w)``, signed.
        opacity: see `revealed`.

    Raises:
        InputError: "symmetric", which pictures know alone.
    """
    if opacity not in get_args(Opacity):
        raise InputError(
            f"view {opacity} is for pictures, and an image is shown through magnitudes; give "
            + ", ".join(get_args(Opacity))
        )
    return saliency.clamp(min=0) if opacity == "none" else magnitude(saliency)


def setting_of(opacity: Opacity) -> str:
    """As a setting says it: nothing for what is usual.

    >>> setting_of("minmax"), setting_of("percentile99")
    (';view=minmax', '')
    """
    return "" if opacity == "percentile99" else f";view={opacity}"


def retrieval(logits: Tensor, reference: Tensor, *, outputs: Outputs = SOFTMAX) -> Tensor:
    """1 where an image shown through a map has the prediction of the whole clean image.

    Args:
        logits: of `revealed` images, ``(n, classes)``.
        reference: of the whole clean images.
        outputs: how predictions are read off logits.

    Returns:
        ``(n,)`` float64, 0 or 1; NaN where a logit is not finite. Source: P2's retrieval rate.

    >>> retrieval(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 3.0]]))
    tensor([1.], dtype=torch.float64)
    """
    return prediction_kept(logits, reference, outputs=outputs)


def retrieval_rate(
    view: View, *, fill: str = "model-mean", opacity: Opacity = "percentile99"
) -> list[Measured]:
    """Whether each image, shown through its map, keeps the class of the whole image.

    Args:
        view: one batch of images and their maps.
        fill: what hides the rest, see `fill.filled`.
        opacity: how a map is scaled: P2 cuts gradients at their 99th percentile, takes Grad-CAM
            from its least to its largest value, and the mask of RelEx as it is.

    Returns:
        Values 0 or 1; NaN where the map is undefined or its magnitude is the same everywhere.
        Source: P2's retrieval rate.

    Raises:
        InputError: no such fill.
    """
    shown = seen_through(view.saliency, opacity)
    pictures = revealed(view.images, shown, filled(view, fill), opacity=opacity)
    values = torch.full((len(pictures),), torch.nan, dtype=torch.float64, device=shown.device)
    defined = is_defined(shown)
    if bool(defined.any()):
        seen = logits(view.model, pictures[defined], view.batch_size)
        values[defined] = retrieval(seen, view.logits[defined], outputs=view.model.outputs)
    return [Measured(values, setting=f"fill={fill_name(fill)}{setting_of(opacity)}")]
