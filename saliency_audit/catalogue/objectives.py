"""What a classifier can be trained for."""

from saliency_audit.catalogue.entries import Objective
from saliency_audit.options import Option
from saliency_audit.ranges import BUDGET, MANY, NOISE, SIDE, WEIGHT, Range

_PANEL = "Objective"
OF_WEIGHT = Option(
    "weight",
    "fraction",
    range=WEIGHT,
    panel=_PANEL,
    shown=False,
    help="Of the regulariser. Default: by objective.",
)
EPS = Option(
    "eps",
    "fraction",
    range=BUDGET,
    panel=_PANEL,
    shown=False,
    help="pgd, adversarial, harmonise: budget, pixel values such as 8/255.",
)
STEPS = Option(
    "steps",
    "whole",
    range=MANY,
    panel=_PANEL,
    help="pgd, adversarial: of the search. Default: 7 and 1.",
)
STEP_SIZE = Option(
    "step_size",
    "fraction",
    range=BUDGET,
    panel=_PANEL,
    shown=False,
    help="pgd, adversarial: of the search, pixel values.",
)
NORM = Option(
    "norm", choices=("linf", "l2"), panel=_PANEL, help="pgd: of the budget. Default: linf."
)
LOSS = Option("loss", panel=_PANEL, help="pgd: xent or cw. Default: xent.")
KAPPA = Option(
    "kappa", "fraction", range=Range(-1e6, 1e6), panel=_PANEL, shown=False, help="pgd: cap of cw."
)
RANDOM_START = Option(
    "random_start",
    "switch",
    panel=_PANEL,
    written="--random-start/--no-random-start",
    shown=False,
    help="pgd: begin at a random point or at the image. Default: at a random point.",
)
ATTACK_MOMENTUM = Option(
    "attack_momentum",
    "fraction",
    range=NOISE,
    panel=_PANEL,
    shown=False,
    help="pgd, adversarial: of MI-FGSM. Default: 0.",
)
PENALTY = Option(
    "penalty",
    panel=_PANEL,
    help="adversarial: norm of the map, l1, l2, linf, group, elastic, weighted. Default: l2.",
)
EPS2 = Option(
    "eps2",
    "fraction",
    range=Range(0, 1e6),
    panel=_PANEL,
    shown=False,
    help="adversarial: second weight of elastic. Default: 0.05.",
)
GROUP = Option(
    "group",
    "whole",
    range=SIDE,
    panel=_PANEL,
    help="adversarial: side of group's squares, pixels. Default: 14.",
)
JOINT_CHANNELS = Option(
    "joint_channels",
    "flag",
    panel=_PANEL,
    shown=False,
    help="adversarial: colours of a square are one group.",
)
REPLAY = Option(
    "replay",
    "whole",
    range=MANY,
    panel=_PANEL,
    help="adversarial: free training, so many steps with each batch. Default: 1.",
)
CLAMP = Option(
    "clamp",
    "flag",
    panel=_PANEL,
    shown=False,
    help="adversarial, harmonise: cut moved images to [0,1].",
)
MU = Option(
    "mu",
    "fraction",
    range=WEIGHT,
    panel=_PANEL,
    shown=False,
    help="score-matching: of the squared trace. Default: 1e-3.",
)
SIGMA = Option(
    "sigma",
    "fraction",
    range=NOISE,
    panel=_PANEL,
    shown=False,
    help="score objectives, noise: of the noise. Default: 0.01 and 0.1.",
)
DRAWS = Option(
    "draws",
    "whole",
    range=MANY,
    panel=_PANEL,
    help="score objectives: noisy copies of an image. Default: 1.",
)
TRACE = Option(
    "trace", panel=_PANEL, help="score objectives: taylor or hutchinson. Default: taylor."
)
ANTITHETIC = Option(
    "antithetic",
    "flag",
    panel=_PANEL,
    shown=False,
    help="score objectives: pairs of opposite noise.",
)
TAU = Option(
    "tau",
    "fraction",
    range=WEIGHT,
    panel=_PANEL,
    shown=False,
    help="anti-score-matching: cap of the trace. Default: 1000.",
)
OF = Option(
    "of",
    panel=_PANEL,
    help="gradient-norm: of the label's logit or of the loss. Default: logit.",
)
REDUCTION = Option(
    "reduction",
    panel=_PANEL,
    help="gradient-norm, jacobian, interpretation: squared, per-sample, minibatch.",
)
PROJECTIONS = Option(
    "projections",
    "whole",
    range=Range(0, MANY.high),
    panel=_PANEL,
    help="jacobian: random directions of an image; 0 is exact. Default: 1.",
)
SCORE = (SIGMA, DRAWS, TRACE, ANTITHETIC)

OBJECTIVES: dict[str, Objective] = {
    "cross-entropy": Objective(
        "training.cross_entropy:cross_entropy",
        "plain training, the control of all others",
        "P4 eq. 2",
    ),
    "score-matching": Objective(
        "training.score_matching:score_matching",
        "the softmax's implicit density is fitted to the data: trace of the Hessian, gradient norm",
        "P0 eq. 4",
        smooth=True,
        options=(OF_WEIGHT, MU, *SCORE),
    ),
    "anti-score-matching": Objective(
        "training.anti_score_matching:anti_score_matching",
        "the opposite of score matching, to see what it does to maps",
        "P0 5",
        smooth=True,
        options=(OF_WEIGHT, TAU, *SCORE),
    ),
    "gradient-norm": Objective(
        "training.gradient_norm:gradient_norm",
        "short gradients of the label's logit, or of the loss",
        "P0 5",
        options=(OF_WEIGHT, OF, REDUCTION),
    ),
    "jacobian": Objective(
        "training.jacobian:jacobian",
        "short gradients of all logits, exact or by random projections",
        "P4 eq. 7",
        options=(OF_WEIGHT, PROJECTIONS, REDUCTION),
    ),
    "adversarial": Objective(
        "training.adversarial:adversarial",
        "images moved by what maximises the loss less a penalty, whose conjugate is the norm of "
        "the map",
        "P1 B.3-B.4",
        options=(
            PENALTY,
            EPS,
            EPS2,
            STEPS,
            STEP_SIZE,
            GROUP,
            JOINT_CHANNELS,
            ATTACK_MOMENTUM,
            REPLAY,
            CLAMP,
        ),
    ),
    "pgd": Objective(
        "training.pgd:pgd",
        "images that projected gradient descent has found",
        "P4 eq. 5, P3 B",
        options=(EPS, NORM, STEPS, STEP_SIZE, LOSS, KAPPA, ATTACK_MOMENTUM, RANDOM_START),
    ),
    "interpretation": Objective(
        "training.interpretation:interpretation",
        "maps like those of a (robust) teacher",
        "P4 eq. 3-4",
        needs=("targets",),
        options=(OF_WEIGHT, REDUCTION),
    ),
    "noise": Objective(
        "training.noise:noise",
        "images under Gaussian noise, the control of attacks",
        "the control; no paper",
        options=(SIGMA,),
    ),
    "harmonise": Objective(
        "training.harmonise:harmonise",
        "images moved along the gradient off what people marked, against it on what they marked",
        "P1 B.8",
        needs=("annotations",),
        options=(EPS, CLAMP),
    ),
}
"""What ``finetune --objective`` can be."""
