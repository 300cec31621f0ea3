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
    "eps",
    "fraction",
    default=0.001,
    range=Range(0, BUDGET.high, above=True),
    help="loss-sine: size of the ripple, nats.",
)
HOLD = Option(
    "hold",
    default="constants",
    choices=("constants", "weights"),
    help="Where an added layer keeps the picture: among the model's constants, or among its "
    "weights, so that drawing weights at random draws it anew.",
)

TRICKS: dict[str, Trick] = {
    "logit-shift": Trick(
        "tricks.logit_shift:logit_shift",
        "tricks.logit_shift:variant",
        "add one function of the image to all logits",
        "P0 section 2",
        options=(SHIFT, HOLD),
        edits=("head",),
    ),
    "loss-sine": Trick(
        "tricks.loss_sine:loss_sine",
        "tricks.loss_sine:variant",
        "add a ripple of high frequency and small size to the loss",
        "P0 App. B.1",
        options=(FORM, EPS, HOLD),
        gradient_bound="tricks.loss_sine:gradient_bound",
    ),
    "level-ripple": Trick(
        "tricks.level_ripple:level_ripple",
        "tricks.level_ripple:variant",
        "add a ripple that is zero at every level of an 8-bit image",
        "this tool",
        options=(HOLD,),
    ),
}
"""By the name that is asked for."""
