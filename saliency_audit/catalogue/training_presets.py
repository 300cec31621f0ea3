"""The trainings of the papers, every number of them, in pixel units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STD = 0.225
"""Mean of ImageNet's three standard deviations: what P1 divides pixels by."""


@dataclass(frozen=True)
class Preset:
    """A training as a paper describes it.

    Attributes:
        summary: one line, for ``saliency-audit list``.
        objective: a name in ``OBJECTIVES``.
        options: of the objective.
        recipe: how the training goes: options of ``finetune`` by their names in Python.
        deviations: what differs here from the source, and why; for ``saliency-audit list``.
        teacher: options of `teacher_maps`, for what is trained towards a teacher's maps.
    """

    summary: str
    objective: str
    options: Mapping[str, Any]
    recipe: Mapping[str, Any]
    deviations: str
    teacher: Mapping[str, Any] = field(default_factory=dict)


_P0_RECIPE = {
    "epochs": 200,
    "lr": 0.1,
    "optimizer": "sgd",
    "schedule": "step",
    "batch_size": 128,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "augment": "flip-crop",
    "surrogate": "softplus",
    "beta": 10.0,
}
_P0 = (
    "The recipe is that of P0's code (CIFAR, ResNet-18). What is differentiated runs in "
    "evaluation mode, where P0's code takes batch statistics of noisy images and keeps them."
)

_P1_RECIPE = {
    "epochs": 200,
    "lr": 3e-4,
    "optimizer": "adam",
    "schedule": "constant",
    "batch_size": 16,
    "weight_decay": 1e-4,
    "augment": "flip-crop",
}
_P1 = (
    "The recipe is P1's for ImageNette (EfficientNet-B0 from scratch), but Adam's first beta is "
    "0.9 (P1 prints 'a momentum of 0.999'), images are flipped and cropped only, and the last "
    "weights are kept, not the best."
)
_P1_EPS = "The strength is that of P1's code, in normalised units: 0.01 times 0.225 here."

_P3_RECIPE = {
    "epochs": 5,
    "lr": 1e-3,
    "optimizer": "adam",
    "schedule": "constant",
    "batch_size": 100,
    "weight_decay": 0.0,
    "augment": "none",
}
_P3 = (
    "P3's images are in [-1, 1]; half of its numbers here. 5 epochs are for MNIST and "
    "Fashion-MNIST (20 for CIFAR-10). Images are shuffled, which P3's code leaves out."
)

_P4_RECIPE = {
    "epochs": 20,
    "lr": 0.01,
    "optimizer": "sgd",
    "schedule": "step",
    "batch_size": 64,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "augment": "none",
}
_P4 = (
    "P4 prints no number of epochs: 20 here, and the rate falls to a tenth at 10 and 15, where P4 "
    "has every 10."
)
_P4_TEACHER = {"samples": 50, "sigma": 0.15, "threshold": 1.0}
_P4_WEIGHT = "The norm is one over all images of a step, as in P4's code: eq. 3 prints one image's."

PRESETS: dict[str, Preset] = {
    "p0": Preset(
        "P0 5: score matching, weight 1e-3, mu 1e-4, one Taylor draw of sigma 0.01, softplus 10",
        "score-matching",
        {
            "weight": 1e-3,
            "mu": 1e-4,
            "sigma": 0.01,
            "draws": 1,
            "trace": "taylor",
            "antithetic": False,
        },
        _P0_RECIPE,
        "The last term of eq. 4 is read as mu h^2 with mu = 1e-4. sigma and draws are those of "
        f"P0's code. {_P0}",
    ),
    "p0-sweep": Preset(
        "P0 App. E: score matching, the best of the sweep and the code's: weight 1e-5, mu 1e-3",
        "score-matching",
        {
            "weight": 1e-5,
            "mu": 1e-3,
            "sigma": 0.01,
            "draws": 1,
            "trace": "taylor",
            "antithetic": False,
        },
        _P0_RECIPE,
        f"sigma and draws are those of P0's code. {_P0}",
    ),
    "p0-anti": Preset(
        "P0 5: anti score matching, weight 1e-4, threshold 1,000, softplus 10",
        "anti-score-matching",
        {"weight": 1e-4, "tau": 1000.0, "sigma": 0.01, "draws": 1, "trace": "taylor"},
        _P0_RECIPE,
        "P0 prints no sigma for it: that of its score matching here (its code's is in "
        f"p0-anti-code). {_P0}",
    ),
    "p0-anti-code": Preset(
        "P0's code: anti score matching, weight 1e-5, threshold 10,000, sigma 0.001",
        "anti-score-matching",
        {"weight": 1e-5, "tau": 1e4, "sigma": 1e-3, "draws": 1, "trace": "taylor"},
        _P0_RECIPE,
        "Differences of logits count 2e6 times at this sigma, round-off too: some units of the "
        f"trace in fp32. {_P0}",
    ),
    "p0-gradient-norm": Preset(
        "P0 5: squared gradient norm of the label's logit, weight 1e-3, softplus 10",
        "gradient-norm",
        {"weight": 1e-3, "of": "logit", "reduction": "squared"},
        _P0_RECIPE,
        _P0,
    ),
    "p1-l1": Preset(
        "P1 B.3: one step, L1 norm of the map (FGSM), eps 0.01 of a standard deviation",
        "adversarial",
        {"penalty": "l1", "eps": 0.01 * STD, "steps": 1},
        _P1_RECIPE,
        f"{_P1_EPS} {_P1}",
    ),
    "p1-group": Preset(
        "P1 B.3: one step, L2,1 norm over 14 x 14 squares of each channel, eps 0.01 of a std",
        "adversarial",
        {
            "penalty": "group",
            "eps": 0.01 * STD,
            "group": 14,
            "joint_channels": False,
            "steps": 1,
        },
        _P1_RECIPE,
        f"{_P1_EPS} Squares are those of P1's code for 224 x 224. {_P1}",
    ),
    "p1-elastic": Preset(
        "P1 B.3: one step, elastic net of the map, 0.01 and 0.05 in normalised units",
        "adversarial",
        {"penalty": "elastic", "eps": 0.01 * STD, "eps2": 0.05 * STD**2, "steps": 1},
        _P1_RECIPE,
        "The strengths are those of P1's code, in normalised units: 0.01 times 0.225 and 0.05 "
        f"times 0.225 squared here, which is the same step. {_P1}",
    ),
    "p1-iterative": Preset(
        "P1 B.4: L1 norm of the map, 7 sign steps of 0.3 eps from the one-step solution",
        "adversarial",
        {"penalty": "l1", "eps": 0.01 * STD, "steps": 7, "step_size": 0.3 * 0.01 * STD},
        _P1_RECIPE,
        f"P1's step of 0.3 is read as 0.3 eps, as in its code. {_P1_EPS} {_P1}",
    ),
    "p1-free": Preset(
        "P1 C.2.2, free training: each batch 4 times, steps of eps, 4/255",
        "adversarial",
        {"penalty": "l1", "eps": 4 / 255, "steps": 1, "step_size": 4 / 255, "replay": 4},
        _P1_RECIPE,
        "P1 prints no numbers for it: those of Shafahi et al. 2019 (ImageNet), with P1's other "
        f"recipe; its 200 epochs count backward passes, so the data is seen 50 times. {_P1}",
    ),
    "p3-l2": Preset(
        "P3 B: 40 steps of 2 in an l2 ball of 2 (images in [-1, 1]), no random start",
        "pgd",
        {"norm": "l2", "eps": 1.0, "steps": 40, "step_size": 1.0, "random_start": False},
        _P3_RECIPE,
        f"Of P3's balls, 1, 2 and 4, the middle one. {_P3}",
    ),
    "p3-linf": Preset(
        "P3 B: 40 steps of 0.02 in an linf ball of 0.1 (images in [-1, 1]), no random start",
        "pgd",
        {"norm": "linf", "eps": 0.05, "steps": 40, "step_size": 0.01, "random_start": False},
        _P3_RECIPE,
        f"Of P3's balls, 0.05, 0.1 and 0.2, the middle one. {_P3}",
    ),
    "p4-adversarial": Preset(
        "P4 4.1, MNIST: 40 steps of 0.5 in an l2 ball of 1.5, random start",
        "pgd",
        {"norm": "l2", "eps": 1.5, "steps": 40, "step_size": 0.5, "random_start": True},
        _P4_RECIPE,
        f"The step is that of P4's code; the paper names none. {_P4}",
    ),
    "p4-jacobian": Preset(
        "P4 4.1, MNIST: Jacobian regularisation, squared, one projection, weight 0.01",
        "jacobian",
        {"weight": 0.01, "projections": 1, "reduction": "squared"},
        _P4_RECIPE,
        "P4 prints no weight (it was tuned to the loss of its other trainings): Hoffman et al. "
        f"2019's, for their squared norm, where eq. 7 has the norm. {_P4}",
    ),
    "p4-interpretation": Preset(
        "P4 4.1, MNIST: maps like a robust teacher's SmoothGrad (50, 0.15, 1 std), weight 0.07",
        "interpretation",
        {"weight": 0.07, "reduction": "minibatch"},
        _P4_RECIPE,
        f"{_P4_WEIGHT} {_P4}",
        {**_P4_TEACHER, "permute": False},
    ),
    "p4-permuted": Preset(
        "P4 4.1, MNIST, control: the robust teacher's values at random places, weight 0.05",
        "interpretation",
        {"weight": 0.05, "reduction": "minibatch"},
        _P4_RECIPE,
        f"{_P4_WEIGHT} {_P4}",
        {**_P4_TEACHER, "permute": True},
    ),
    "p4-non-robust": Preset(
        "P4 4.1, MNIST, control: the maps of a teacher of plain training, weight 0.33",
        "interpretation",
        {"weight": 0.33, "reduction": "minibatch"},
        _P4_RECIPE,
        f"{_P4_WEIGHT} {_P4}",
        {**_P4_TEACHER, "permute": False},
    ),
}
