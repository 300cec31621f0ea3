"""Plain training: what every objective is compared with."""

from torch.nn import functional as F

from saliency_audit.training.step import Loss, Step


def cross_entropy(step: Step) -> Loss:
    r"""The mean over the batch of :math:`l_y = -f_y + \log\sum_j e^{f_j}`.

    Args:
        step: one batch.

    Returns:
        The one term "cross-entropy", in nats. Source: P4 eq. 2 (with the minus it lacks).
    """
    logits = step.model(step.images)
    return Loss({"cross-entropy": F.cross_entropy(logits, step.labels)}, logits.detach())
