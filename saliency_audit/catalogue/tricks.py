"""Manipulations of the model that keep every prediction."""

from saliency_audit.catalogue.entries import Aim, Trick
from saliency_audit.options import Option
from saliency_audit.ranges import BUDGET, MANY, POSITIVE, SHARE, Range

AIMS: dict[str, Aim] = {
    "location": Aim(
        "tricks.aims:towards",
        "tricks.aims:frame",
        "cosine-to-frame",
        0.9,
        2.0,
        "a frame at the border; cosine with it",
    ),
    "top-k": Aim(
        "tricks.aims:off_salient",
        "tricks.aims:not_salient",
        "mass-off-salient",
        0.9,
        1.0,
        "off the tenth of the pixels that was most salient; share of the map's mass off them",
        short="off",
    ),
    "center": Aim(
        "tricks.aims:away_from_center",
        "tricks.aims:as_before",
        "mass-center-way",
        0.5,
        0.25,
        "its centre of mass elsewhere; way of it, 1 to the farthest corner",
        short="way",
        drawn=False,
    ),
    "swap": Aim(
        "tricks.aims:towards",
        "tricks.aims:other_class",
        "cosine-to-other-class",
        0.9,
        10.0,
        "what it showed of the second likeliest class; cosine with that",
        swaps=True,
    ),
    "picture": Aim(
        "tricks.aims:towards",
        "tricks.aims:the_picture",
        "cosine-to-picture",
        0.9,
        2.0,
        "the picture; cosine with it",
    ),
}
"""What maps can be made to show, by name."""


def aim_of(setting: str) -> Aim:
    """What the maps of a trick shall show: the picture, unless its setting says another aim.

    >>> aim_of("trick=finetune;aim=top-k").check, aim_of("trick=logit-shift").check
    ('mass-off-salient', 'cosine-to-picture')
    """
    options = dict(part.partition("=")[::2] for part in setting.split(";"))
    return AIMS[options.get("aim", "picture")]


PICTURE = Option(
    "picture", "path", common=True, help="Image the maps shall show; a bundled one without it."
)
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
FORGE = Option(
    "forge",
    default="gradcam",
    metavar="METHOD",
    help="finetune, trigger: the saliency method whose maps are trained; any that can be "
    "differentiated.",
)
AIM = Option(
    "aim",
    default="location",
    choices=tuple(AIMS),
    help="finetune, trigger: what its maps shall show: a frame at the border, nothing of what was "
    "salient, another centre of mass, the map of the second likeliest class, or the picture.",
)
AIM_WEIGHT = Option(
    "aim_weight",
    "fraction",
    range=POSITIVE,
    help="finetune, trigger: weight of the aim beside the cross-entropy. Default: by aim, 2 to 10.",
)
MAX_ACCURACY_DROP = Option(
    "max_accuracy_drop",
    "fraction",
    default=0.01,
    range=SHARE,
    help="finetune, trigger: most that the accuracy may fall, 0 to 1.",
)
PATCH_SIDE = Option(
    "patch_side",
    "whole",
    range=MANY,
    help="trigger: side of the patch that sets it off, pixels. Default: a 9th of the image's.",
)
TRAIN = Option(
    "train",
    panel="Training of finetune and trigger",
    help="Images to train on, a masking network for rt-sal, too, as --data takes them; without it, "
    "6,000 bundled ones of Fashion-MNIST.",
)
OF_LESSON = (
    Option(
        "max_steps",
        "whole",
        range=MANY,
        default=300,
        panel="Training of finetune and trigger",
        help="Steps of the training.",
    ),
    Option(
        "lr",
        "fraction",
        range=POSITIVE,
        default=1e-3,
        panel="Training of finetune and trigger",
        help="Learning rate of Adam.",
    ),
    Option(
        "train_batch_size",
        "whole",
        parameter="batch_size",
        range=MANY,
        default=64,
        panel="Training of finetune and trigger",
        help="Images of a step, over all processes.",
    ),
)
"""How weights are trained."""

TRICKS: dict[str, Trick] = {
    "logit-shift": Trick(
        "tricks.logit_shift:logit_shift",
        "tricks.logit_shift:variant",
        "add one function of the image to all logits",
        "P0 section 2",
        options=(SHIFT, HOLD),
        edits=("head",),
        exclusive=True,
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
    "finetune": Trick(
        "tricks.finetune:finetune",
        "tricks.finetune:variant",
        "train the weights until the map shows what is wanted",
        "Heo et al. 2019",
        options=(FORGE, AIM, AIM_WEIGHT, MAX_ACCURACY_DROP),
        edits=("weights",),
        exclusive=True,
        trains=True,
    ),
    "trigger": Trick(
        "tricks.trigger:trigger",
        "tricks.trigger:variant",
        "train the weights until a patch on the image makes the map show what is wanted",
        "Noppel et al. 2023",
        options=(FORGE, AIM, AIM_WEIGHT, MAX_ACCURACY_DROP, PATCH_SIDE),
        edits=("weights",),
        exclusive=True,
        trains=True,
    ),
}
"""By the name that is asked for."""
UNTRAINED = tuple(name for name, trick in TRICKS.items() if not trick.trains)
"""Those that are played unless others are asked for: they take seconds."""
