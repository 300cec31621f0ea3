"""Manipulations of the model that keep every prediction."""

from saliency_audit.catalogue.entries import Trick
from saliency_audit.options import Option
from saliency_audit.ranges import BUDGET, Range

PICTURE = Option("picture", "path", help="Image the maps shall show; a bundled one without it.")
STRENGTH = Option(
    "strength",
    "fraction",
    default=10.0,
    range=Range(0, 1e9, above=True),
    help="Norm of the picture's gradient over the median norm of the true one.",
)
SHIFT = Option(
    "shift",
    default="linear",
    choices=("linear", "cancel", "head"),
    help="logit-shift: a linear function; one that also cancels the true gradient at each "
    "image; or one vector added to the head's weights.",
)
FORM = Option(
    "form",
    default="per-class",
    choices=("per-class", "dummy-class", "wrapper"),
    help="loss-sine: a ripple on each logit; one more class; or the paper's wrapped loss.",
)
EPS = Option(
    "eps", "fraction", default=0.001, range=BUDGET, help="loss-sine: size of the ripple, nats."
)

TRICKS: dict[str, Trick] = {
    "logit-shift": Trick(
        "tricks.logit_shift:logit_shift",
        "add one function of the image to all logits",
        "P0 section 2",
        options=(SHIFT,),
    ),
    "loss-sine": Trick(
        "tricks.loss_sine:loss_sine",
        "add a ripple of high frequency and small size to the loss",
        "P0 App. B.1",
        options=(FORM, EPS),
    ),
}
"""By the name that is asked for."""
