"""What a user can set of ``fool``."""

from saliency_audit.commands.options import (
    ARGUMENT,
    OF_MAPS,
    OF_MODEL,
    OF_RUN,
    SALIENCY,
    SCALARS,
    of_images,
)
from saliency_audit.options import Option

OPTIONS = (
    ARGUMENT,
    Option(
        "trick",
        choices=("logit-shift", "loss-sine"),
        many=True,
        shown=False,
        help="Manipulation, repeatable. Default: both.",
    ),
    Option(
        "shift",
        default="linear",
        choices=("linear", "cancel", "head"),
        help="logit-shift: a linear function; one that also cancels the true gradient at each "
        "image; or one vector added to the head's weights.",
    ),
    Option(
        "form",
        default="per-class",
        choices=("per-class", "dummy-class", "wrapper"),
        help="loss-sine: a ripple on each logit; one more class; or the paper's wrapped loss.",
    ),
    Option("eps", "fraction", default=0.001, help="loss-sine: size of the ripple, nats."),
    Option("picture", "path", help="Image the maps shall show; a bundled one without it."),
    Option(
        "strength",
        "fraction",
        default=10.0,
        help="Norm of the picture's gradient over the median norm of the true one.",
    ),
    Option(
        "fail_on",
        choices=("forged", "disturbed"),
        help="Exit with 1 if any map is forged (or, for disturbed, changed at all).",
    ),
    SALIENCY,
    SCALARS,
    *OF_MAPS,
    *of_images(24),
    *OF_MODEL,
    *OF_RUN,
)
