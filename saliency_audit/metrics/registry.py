"""What ``evaluate`` can be asked for: one topic a file, one line here."""

from collections.abc import Callable
from math import inf

from torch import Tensor

from saliency_audit.metrics.accuracy import accuracy, clean_accuracy, robust_accuracy
from saliency_audit.metrics.aopc import aopc
from saliency_audit.metrics.class_evidence import class_evidence
from saliency_audit.metrics.deletion import (
    deletion,
    deletion_gap,
    density_perturbation,
    discriminative,
    insertion,
    preservation,
)
from saliency_audit.metrics.density_profile import density_profile
from saliency_audit.metrics.gaze_overlap import gaze_overlap
from saliency_audit.metrics.gradient_norm import gradient_norm_others, gradient_norm_target
from saliency_audit.metrics.pointing_game import pointing_game
from saliency_audit.metrics.retrieval import retrieval_rate
from saliency_audit.metrics.sanity import sanity_cascade, sanity_independent
from saliency_audit.metrics.scalar_agreement import scalar_agreement
from saliency_audit.metrics.sensitivity import infidelity, max_sensitivity
from saliency_audit.metrics.similarity import cosine
from saliency_audit.metrics.sparsity import sparsity_gini, sparsity_hoyer
from saliency_audit.metrics.stability import stability
from saliency_audit.types import Check, Metric


def _check(
    summary: str,
    better: bool | None,
    bounds: tuple[float, float],
    source: str,
    *,
    chance: str = "",
    function: Callable[..., Tensor] | None = None,
) -> Check:
    return Check(function, summary, better, bounds, source, chance)


def _similarities(of: str) -> dict[str, Check]:
    """The checks of a sanity check: the answer and the other ways to compare two maps."""
    source = "Adebayo et al. 2018; P1 C.2.6"
    between = "between the map and that of the model with layers drawn at random"
    return {
        of: _check(f"rank correlation of magnitudes {between}", False, (-1, 1), source, chance="0"),
        f"{of}-signed": _check(
            f"rank correlation of signed maps {between}", None, (-1, 1), source, chance="0"
        ),
        f"{of}-ssim": _check(f"structural similarity {between}", None, (-1, 1), source),
        f"{of}-hog": _check(
            f"rank correlation of gradient histograms {between}", None, (-1, 1), source
        ),
    }


METRICS: dict[str, Metric] = {
    "discriminative": Metric(
        discriminative,
        "map",
        {
            "discriminative": _check(
                "area under the accuracy as the least salient pixels are replaced",
                True,
                (0, 1),
                "P0 section 5.2.1",
            )
        },
        verdict="random",
        needs=("labels",),
    ),
    "deletion": Metric(
        deletion,
        "map",
        {
            "deletion": _check(
                "area under the class probability as the most salient pixels are replaced",
                False,
                (0, 1),
                "P2 S3.3; RISE (Petsiuk et al. 2018)",
            )
        },
        verdict="random",
    ),
    "preservation": Metric(
        preservation,
        "map",
        {
            "preservation": _check(
                "area under the class probability as the least salient pixels are replaced",
                True,
                (0, 1),
                "P2 S3.3",
            )
        },
        verdict="random",
    ),
    "insertion": Metric(
        insertion,
        "map",
        {
            "insertion": _check(
                "area under the class probability as salient pixels return to the blurred image",
                True,
                (0, 1),
                "RISE (Petsiuk et al. 2018)",
            )
        },
        verdict="random",
    ),
    "deletion-gap": Metric(
        deletion_gap,
        "map",
        {
            "deletion-gap": _check(
                "preservation minus deletion, in which what replacing alone does cancels",
                True,
                (-1, 1),
                "ours, after symmetric relevance gain (Blücher et al. 2024)",
                chance="0",
            )
        },
        verdict="random",
    ),
    "aopc": Metric(
        aopc,
        "map",
        {
            "aopc": _check(
                "mean drop of the class probability as the most salient regions are replaced",
                True,
                (-1, 1),
                "P1 C.2.4; Samek et al. 2017",
            )
        },
        verdict="random",
    ),
    "density-perturbation": Metric(
        density_perturbation,
        "map",
        {
            "density-perturbation": _check(
                "mean change of the class's logit as the least salient pixels are replaced; "
                "reads logits, so whoever shifts them forges it",
                True,
                (-inf, inf),
                "P0 section 4.2",
            )
        },
        verdict="random",
    ),
    "sanity-cascade": Metric(
        sanity_cascade,
        "method",
        {
            **_similarities("sanity-cascade"),
            "sanity-cascade-map-norm": _check(
                "norm of the randomised model's map over that of the given model's",
                None,
                (0, inf),
                "ours: a vanishing map is no evidence",
            ),
            "sanity-cascade-logit-spread": _check(
                "standard deviation of the randomised model's logits over the given model's",
                None,
                (0, inf),
                "ours: a constant model is no evidence",
            ),
        },
        verdict="half",
        answer="randomised=mean",
    ),
    "sanity-independent": Metric(
        sanity_independent,
        "method",
        _similarities("sanity-independent"),
        answer="randomised=each",
    ),
    "sparsity-gini": Metric(
        sparsity_gini,
        "map",
        {
            "sparsity-gini": _check(
                "Gini index of the magnitudes: 0 spread evenly, near 1 in few pixels",
                None,
                (0, 1),
                "P1; Hurley & Rickard 2009",
            )
        },
    ),
    "sparsity-hoyer": Metric(
        sparsity_hoyer,
        "map",
        {
            "sparsity-hoyer": _check(
                "Hoyer's sparseness of the magnitudes: 0 spread evenly, 1 in one pixel",
                None,
                (0, 1),
                "Hoyer 2004",
            )
        },
    ),
    "stability": Metric(
        stability,
        "method",
        {
            "stability": _check(
                "share of the most salient pixels that the map of another model has too",
                True,
                (0, 1),
                "P1 B.7",
                chance="k",
            ),
            "stability-jaccard": _check(
                "the same pixels over those salient in either map", None, (0, 1), "P1 B.7"
            ),
            "stability-spearman": _check(
                "rank correlation of the two maps' magnitudes", None, (-1, 1), "P1 B.7", chance="0"
            ),
        },
        verdict="random",
        needs=("other",),
    ),
    "gaze-overlap": Metric(
        gaze_overlap,
        "map",
        {
            "gaze-overlap": _check(
                "share of the most salient pixels that people looked at most",
                True,
                (0, 1),
                "P1 C.3",
                chance="top",
            )
        },
        verdict="random",
        needs=("annotations",),
    ),
    "pointing-game": Metric(
        pointing_game,
        "map",
        {
            "pointing-game": _check(
                "1 if the most salient pixel lies in the annotated part",
                True,
                (0, 1),
                "Zhang et al. 2018",
            ),
            "pointing-game-chance": _check(
                "share of the image that is annotated: what a random pixel gets",
                None,
                (0, 1),
                "ours",
            ),
        },
        verdict="random",
        needs=("annotations",),
    ),
    "max-sensitivity": Metric(
        max_sensitivity,
        "method",
        {
            "max-sensitivity": _check(
                "largest relative change of the map under small noise on the image",
                False,
                (0, inf),
                "Yeh et al. 2019",
            )
        },
    ),
    "infidelity": Metric(
        infidelity,
        "map",
        {
            "infidelity": _check(
                "squared error of predicting the scalar's change under noise from the map, scaled",
                False,
                (0, inf),
                "Yeh et al. 2019",
            )
        },
        verdict="random",
    ),
    "class-evidence": Metric(
        class_evidence,
        "method",
        {
            "class-evidence": _check(
                "1 if the image shown through a chosen class's map is classified as that class",
                True,
                (0, 1),
                "P2 S3.6",
            )
        },
        verdict="random",
    ),
    "retrieval": Metric(
        retrieval_rate,
        "map",
        {
            "retrieval": _check(
                "1 if the image shown through its map keeps its class", True, (0, 1), "P2"
            )
        },
        verdict="random",
    ),
    "accuracy": Metric(
        clean_accuracy,
        "model",
        {
            "accuracy": _check(
                "1 if the predicted class is the label",
                True,
                (0, 1),
                "P0 section 5",
                chance="1/classes",
                function=accuracy,
            )
        },
        needs=("labels",),
    ),
    "robust-accuracy": Metric(
        robust_accuracy,
        "model",
        {
            "robust-accuracy": _check(
                "1 if the class is right and stays so under PGD", True, (0, 1), "P4 Table 1"
            )
        },
        needs=("labels",),
    ),
    "gradient-norm-target": Metric(
        gradient_norm_target,
        "model",
        {
            "gradient-norm-target": _check(
                "L2 norm of the gradient of the explained class's logit, per unit of pixel value",
                None,
                (0, inf),
                "P4 Table 3",
            )
        },
    ),
    "gradient-norm-others": Metric(
        gradient_norm_others,
        "model",
        {
            "gradient-norm-others": _check(
                "mean L2 norm of the gradients of the other logits", None, (0, inf), "P4 Table 3"
            )
        },
    ),
    "density-profile": Metric(
        density_profile,
        "model",
        {
            "density-profile": _check(
                "log-ratio of the implicit density of a noisy image to that of the image",
                False,
                (-inf, inf),
                "P0 section 5.1.1",
            ),
            "density-profile-median": _check(
                "median of the same over images", False, (-inf, inf), "P0 section 5.1.1"
            ),
            "density-profile-log-mean": _check(
                "logarithm of the mean density ratio: what P0 plots, ruled by its outliers",
                False,
                (-inf, inf),
                "P0 section 5.1.1",
            ),
        },
    ),
    "scalar-agreement": Metric(
        scalar_agreement,
        "model",
        {
            "scalar-agreement": _check(
                "cosine of the logit map with the centred-logit map; low = shifted logits",
                True,
                (-1, 1),
                "P0 section 2",
                function=cosine,
            )
        },
    ),
}
