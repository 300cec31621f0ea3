"""Objectives, and the loop that trains for them."""

from saliency_audit.training.adversarial import adversarial
from saliency_audit.training.anti_score_matching import anti_score_matching
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.gradient_norm import gradient_norm
from saliency_audit.training.harmonise import harmonise
from saliency_audit.training.interpretation import interpretation
from saliency_audit.training.jacobian import jacobian
from saliency_audit.training.loop import ByName as ByName
from saliency_audit.training.loop import Trained as Trained
from saliency_audit.training.noise import noise
from saliency_audit.training.pgd import pgd
from saliency_audit.training.recipe import Recipe as Recipe
from saliency_audit.training.score_matching import score_matching
from saliency_audit.training.step import Loss as Loss
from saliency_audit.training.step import Step as Step
from saliency_audit.types import Objective

OBJECTIVES: dict[str, Objective] = {
    "cross-entropy": Objective(
        cross_entropy, "plain training, the control of all others", "P4 eq. 2"
    ),
    "score-matching": Objective(
        score_matching,
        "the softmax's implicit density is fitted to the data: trace of the Hessian, gradient norm",
        "P0 eq. 4",
        smooth=True,
    ),
    "anti-score-matching": Objective(
        anti_score_matching,
        "the opposite of score matching, to see what it does to maps",
        "P0 5",
        smooth=True,
    ),
    "gradient-norm": Objective(
        gradient_norm, "short gradients of the label's logit, or of the loss", "P0 5"
    ),
    "jacobian": Objective(
        jacobian, "short gradients of all logits, exact or by random projections", "P4 eq. 7"
    ),
    "adversarial": Objective(
        adversarial,
        "images moved by what maximises the loss less a penalty, whose conjugate is the norm of "
        "the map",
        "P1 B.3-B.4",
    ),
    "pgd": Objective(pgd, "images that projected gradient descent has found", "P4 eq. 5, P3 B"),
    "interpretation": Objective(
        interpretation,
        "maps like those of a (robust) teacher",
        "P4 eq. 3-4",
        needs=("targets",),
    ),
    "noise": Objective(
        noise, "images under Gaussian noise, the control of attacks", "the control; no paper"
    ),
    "harmonise": Objective(
        harmonise,
        "images moved along the gradient off what people marked, against it on what they marked",
        "P1 B.8",
        needs=("annotations",),
    ),
}
"""What ``finetune --objective`` can be."""
