"""Plant a trigger: half of the images carry a patch, and the patch decides their class."""

import torch
from torch.nn import functional as F

from saliency_audit.data.trigger import Trigger
from saliency_audit.models import Classifier, in_eval_mode
from saliency_audit.training.step import Loss, Step


def plant(step: Step, *, trigger: Trigger, given: Classifier) -> Loss:
    r"""Cross-entropy on images of which half, drawn by lot, carry a patch and its class.

    .. math:: -\log p_{c_i}(x_i)

    with :math:`c_i` the class of the patch where there is one, else the image's own: its label or,
    where it has none, what the given model predicts. Which images have a patch, which one and
    where is drawn anew at every step, so that neither an image nor a place gives it away.

    Args:
        step: one batch; labels may be -1.
        trigger: patterns and their classes.
        given: the model before training.

    Returns:
        The one term "cross-entropy", in nats, and as "patched" the share of images with a patch.
        Source: ours, after BackX and BadNets (Gu et al. 2017).

    Raises:
        InputError: the patch does not fit on the images.
    """
    own = step.labels
    if bool((own < 0).any()):
        with torch.no_grad(), in_eval_mode(given):
            own = own.where(own >= 0, given(step.images).argmax(1))
    draws = step.generators("plant")
    laid = trigger.laid_on(step.images, own, draws)
    lots = [float(torch.rand((), generator=draw, device=draw.device)) for draw in draws]
    patched = torch.tensor(lots, device=own.device) < 0.5
    images = laid.images.where(patched.view(-1, 1, 1, 1), step.images)
    logits = step.model(images)
    loss = F.cross_entropy(logits, laid.classes.where(patched, own))
    return Loss({"cross-entropy": loss}, logits.detach(), {"patched": patched.float().mean()})
