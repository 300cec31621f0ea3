"""Does the map of a network that learned nothing but noise look the same?"""

import torch

from saliency_audit.metrics.sanity import VERSIONS, Similarity
from saliency_audit.metrics.ssim import WINDOW
from saliency_audit.metrics.view import Measured, View


def label_randomisation(
    view: View, *, window: int = WINDOW, ssim_range: float = 1.0
) -> list[Measured]:
    r"""Likeness of the map to that of a network trained on the training images with others' labels.

    The same architecture, from fresh weights, on labels in an order drawn by lot: whatever it
    learned is no reason for a class. Both explain the class of the given model. A map that stays
    alike does not show what was learned from the labels. (A network that says one class of every
    image has learned nothing at all, as adversarial training on such labels may end in.)

    Args:
        view: one batch of images, their maps, and what gives the network.
        window: of the structural similarity.
        ssim_range: of the structural similarity: magnitudes are scaled to [0, ssim_range].

    Returns:
        ``label-randomisation``, the rank correlation of magnitudes, in [-1, 1], lower is better; 1
        of what sees no model; and as in the sanity checks ``-signed``, ``-ssim`` and ``-hog``. NaN
        where a map is undefined, and for all images where the network says one class of all
        training images that it is asked about. Once for all methods
        ``label-randomisation-agreement``, 1 where it says the given model's class.
        Source: Adebayo et al. 2018; P1 C.2.6.
    """
    trained = view.needed("train").network("permuted", view.model)
    network = trained.model
    maps = (
        view.saliency
        if view.control
        else view.explain(network, view.images, view.targets, names=view.names)
    )
    compared = Similarity(view.saliency.double(), window=window, ssim_range=ssim_range)
    alike = compared(maps.double())
    if trained.constant and not view.control:
        alike = torch.full_like(alike, torch.nan)
    found = [
        Measured(values, f"label-randomisation{version}", compared.setting(version).rstrip(";"))
        for version, values in zip(VERSIONS, alike, strict=True)
    ]
    if "label-randomisation" not in view.known:  # once for all methods
        view.known["label-randomisation"] = True
        with torch.no_grad():
            parts = torch.split(view.images, view.batch_size)
            classes = torch.cat([network(part).argmax(1) for part in parts])
        agrees = (classes == view.logits.argmax(1)).double()
        found.append(Measured(agrees, "label-randomisation-agreement", saliency=""))
    return found
