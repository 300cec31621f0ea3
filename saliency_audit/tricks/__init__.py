"""Model manipulations that keep every prediction: one a file, one line here."""

from saliency_audit.tricks.logit_shift import logit_shift
from saliency_audit.tricks.loss_sine import loss_sine
from saliency_audit.types import Trick

TRICKS: dict[str, Trick] = {
    "logit-shift": Trick(
        logit_shift, "add one function of the image to all logits", "P0 section 2"
    ),
    "loss-sine": Trick(
        loss_sine, "add a ripple of high frequency and small size to the loss", "P0 App. B.1"
    ),
}
