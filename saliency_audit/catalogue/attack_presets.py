"""The settings of the papers' experiments, every number of them, in pixel units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STD = 0.225
"""Mean of ImageNet's three standard deviations: what P1 and P2 divide pixels by."""


@dataclass(frozen=True)
class Preset:
    """An experiment as a paper describes it.

    Attributes:
        summary: one line, for ``saliency-audit list``.
        deviations: what differs here from the paper, and why; for ``saliency-audit list``.
        attacks: names in ``ATTACKS``.
        eps: budgets in pixel units; empty for none.
        norm: of the budgets.
        k: most salient pixels, a fraction or a count.
        saliency: attacked methods; empty where the prediction is attacked.
        scalar: explained.
        search: options of the search.
        methods: options of the saliency methods.
    """

    summary: str
    deviations: str
    attacks: tuple[str, ...]
    eps: tuple[float, ...] = ()
    norm: str = "linf"
    k: float = 0.02
    saliency: tuple[str, ...] = ()
    scalar: str = "logit"
    search: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Any] = field(default_factory=dict)


RELEX = ("integrated-gradients", "smoothgrad", "gradcam")
RELEX_METHODS = {"steps": 100, "samples": 50, "noise_level": 0.1}

PRESETS: dict[str, Preset] = {
    "ghorbani": Preset(
        "Ghorbani et al. 2019: eps 8/255, 300 sign steps of 0.5/255, 1,000 pixels, softplus 30",
        "DeepLIFT (their third method) cannot be differentiated here. Integrated gradients by the "
        "midpoint rule. The centre of mass is not cut to whole pixels; the first step is random.",
        ("topk", "mass-center"),
        eps=(8 / 255,),
        k=1000,
        saliency=("gradient", "integrated-gradients"),
        search={
            "steps": 300,
            "step_size": 0.5 / 255,
            "smooth": "softplus",
            "beta": 30.0,
            "restore_class": False,
        },
        methods={"steps": 100},
    ),
    "dombrowski": Preset(
        "Dombrowski et al. 2019: 1,500 Adam steps of 2e-4, softplus 10 to 100, weights 1e11, 1e6",
        "Guided backpropagation and LRP cannot be differentiated here. Integrated gradients from "
        "the mean colour by the midpoint rule. The wanted map is the network's own, not that of "
        "softplus 1,000. The best of 20 looks is kept, not the last step.",
        ("structured",),
        saliency=("gradient", "input-x-gradient", "integrated-gradients"),
        search={
            "steps": 1500,
            "step_size": 2e-4,
            "rule": "adam",
            "smooth": "softplus",
            "beta_growth": True,
            "restore_class": False,
        },
        methods={"steps": 30},
    ),
    "relex-topk": Preset(
        "P2 S2.2, unstructured: eps 1, 2, 4 and 8/255, 300 sign steps, 1,000 pixels, softplus 30",
        "P2 names no step; its code steps 1 in normalised units, which leaves the budget at once: "
        "1/255 here, at most eps. RT-Sal needs a network of its own and is not in the registry.",
        ("topk",),
        eps=(1 / 255, 2 / 255, 4 / 255, 8 / 255),
        k=1000,
        saliency=RELEX,
        scalar="prob",
        search={
            "steps": 300,
            "step_size": 1 / 255,
            "smooth": "softplus",
            "beta": 30.0,
            "restore_class": False,
        },
        methods=RELEX_METHODS,
    ),
    "relex-structured": Preset(
        "P2 S2.2, structured: 1,500 Adam steps of 2e-4, softplus 10 to 100, weights 1e11 and 1e6",
        "Adam at 2e-4 moves an image by at most 116 in 1,500 steps; P2 prints a mean distance of "
        "628, which cannot be reached from the clean image. RT-Sal is not in the registry.",
        ("structured",),
        saliency=RELEX,
        scalar="prob",
        search={
            "steps": 1500,
            "step_size": 2e-4,
            "rule": "adam",
            "smooth": "softplus",
            "beta_growth": True,
            "restore_class": False,
        },
        methods=RELEX_METHODS,
    ),
    "relex-pgd": Preset(
        "P2 S2.2, untargeted: linf, 40 steps of 0.01, eps 0.07 to 8, random start",
        "P2's numbers are in normalised units and times 0.225 here. 40 steps of 0.01 cannot cross "
        "budgets of 1 and more: P2's distances there are those of the random start.",
        ("pgd",),
        eps=tuple(eps * STD for eps in (0.07, 0.1, 0.3, 1, 2, 4, 8)),
        search={"steps": 40, "step_size": 0.01 * STD},
    ),
    "moreau-l2": Preset(
        "P1 B.6: l2 ball of 10, 10 sign steps of a hundredth of it, 40 % of the pixels",
        "The radius is 10 in normalised units, times 0.225 here. 40 % of all pixels, not of those "
        "with attribution; in fp32.",
        ("topk",),
        eps=(10 * STD,),
        norm="l2",
        k=0.4,
        saliency=("gradient", "smoothgrad"),
        search={
            "steps": 10,
            "step_size": 0.1 * STD,
            "rule": "sign",
            "smooth": "softplus",
            "restore_class": False,
        },
        methods={"samples": 64},
    ),
    "p3-pgd": Preset(
        "P3 2.1: l2 ball of 12, 40 steps of 2, no random start",
        "P3's images are in [-1, 1]; half of its numbers here.",
        ("pgd",),
        eps=(6.0,),
        norm="l2",
        search={"steps": 40, "step_size": 1.0, "from_random": False},
    ),
    "p4-mnist": Preset(
        "P4, MNIST: l2 ball of 1.5, 40 steps of 0.5, random start",
        "The step is that of P4's code; the paper names none.",
        ("pgd",),
        eps=(1.5,),
        norm="l2",
        search={"steps": 40, "step_size": 0.5},
    ),
    "p4-cifar": Preset(
        "P4, CIFAR-10: l2 ball of 80/255, 40 steps of 0.04, random start",
        "The step is that of P4's code; the paper names none.",
        ("pgd",),
        eps=(80 / 255,),
        norm="l2",
        search={"steps": 40, "step_size": 0.04},
    ),
}
