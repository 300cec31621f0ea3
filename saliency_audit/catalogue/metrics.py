"""What `evaluate` can be asked for, and every quantity that any command measures."""

from dataclasses import replace
from math import inf
from typing import Any

from saliency_audit.catalogue.entries import Check, Metric
from saliency_audit.catalogue.methods import VIEW
from saliency_audit.options import Option
from saliency_audit.ranges import (
    BUDGET,
    INDEX,
    INSIDE,
    MANY,
    NOISE,
    PIXELS,
    POSITIVE,
    SHARE,
    SIDE,
    WEIGHT,
    Range,
)


def _check(
    summary: str,
    better: bool | None,
    bounds: tuple[float, float],
    source: str,
    *,
    code: str | None = None,
    **more: Any,
) -> Check:
    return Check(code, summary, better, bounds, source, **more)


_DRAWN = "the model with layers drawn at random"
_PERMUTED = "a network trained on others' labels"


def _similarities(of: str, drawn: str) -> dict[str, Check]:
    """The checks of a sanity check: the answer and the other ways to compare two maps."""
    source = "Adebayo et al. 2018; P1 C.2.6"
    between = f"between the map and that of {_DRAWN}"
    return {
        of: _check(
            f"rank correlation of magnitudes {between}",
            False,
            (-1, 1),
            source,
            chance="0",
            axes=(f"{drawn} drawn at random, from the output on", _RANKS),
        ),
        f"{of}-signed": _check(
            f"rank correlation of signed maps {between}", None, (-1, 1), source, chance="0"
        ),
        f"{of}-ssim": _check(f"structural similarity {between}", None, (-1, 1), source),
        f"{of}-hog": _check(
            f"rank correlation of gradient histograms {between}", None, (-1, 1), source
        ),
    }


def _overlaps(of: str, summary: str) -> dict[str, Check]:
    """The checks of what compares the most salient pixels of two models' maps."""
    return {
        of: _check(summary, True, (0, 1), "P1 B.7", chance="k"),
        f"{of}-jaccard": _check(
            "the same pixels over those salient in either map", None, (0, 1), "P1 B.7"
        ),
        f"{of}-spearman": _check(
            "rank correlation of the two maps' magnitudes", None, (-1, 1), "P1 B.7", chance="0"
        ),
    }


def _retrained(of: str, summary: str, trained: str) -> dict[str, Check]:
    """The checks of a metric that trains on what is left: the area, and its points."""
    source = "P3 4.2; Hooker et al. 2019"
    return {
        of: _check(summary, True, (-1, 1), source, chance="0"),
        f"{of}-accuracy": _check(
            f"test accuracy of a network trained {trained}",
            None,
            (0, 1),
            source,
            chance="1/classes",
            axes=("share of pixels replaced in training and test", "test accuracy"),
        ),
        f"{of}-mask-only": _check(
            "test accuracy of a network trained on which pixels were replaced, and nothing else",
            None,
            (0, 1),
            "ours",
            chance="1/classes",
            axes=("share of pixels replaced", "test accuracy"),
        ),
    }


_REPLACED, _PROBABILITY = "share of pixels replaced", "probability of the explained class"
_RANKS = "rank correlation of magnitudes\nwith the given model's map"
_REPLACING, _SANITY, _OTHER = "Replacing pixels", "Sanity checks", "Other metrics"
_SAMPLES = "Samples of the model"
_RETRAINING = "Training anew"
STEPS = Option(
    "steps",
    "whole",
    range=MANY,
    panel=_REPLACING,
    help="Points of deletion, preservation, insertion. Default: 32.",
)
FILL = Option(
    "fill",
    "fill",
    choices=("image-mean", "dataset-mean", "zero", "model-mean", "blur", "noise"),
    range=SHARE,
    panel=_REPLACING,
    help="What replaces pixels: image-mean, dataset-mean, zero, model-mean (the colour "
    "that becomes 0), a value in [0,1], blur, noise. Default: by metric.",
)
REDUCE = Option(
    "reduce",
    choices=("mean", "std"),
    panel=_REPLACING,
    help="A pixel's relevance: mean magnitude over channels, or P0's spread over them. "
    "Default: mean.",
)
POINTS = Option(
    "points",
    "whole",
    range=Range(2, MANY.high),
    panel=_REPLACING,
    help="Shares of pixels of discriminative, density-perturbation. Default: 25.",
)
REGIONS = Option(
    "regions",
    "whole",
    parameter="counts",
    range=PIXELS,
    many=True,
    panel=_REPLACING,
    shown=False,
    help="aopc: how many regions, repeatable. Default: 20, 50, 100.",
)
UNIT = Option(
    "unit",
    choices=("region", "pixel"),
    panel=_REPLACING,
    help="aopc: squares of 9 pixels at 224, or pixels. Default: region.",
)
FRACTIONS = Option(
    "fractions",
    "number",
    range=INSIDE,
    many=True,
    panel=_RETRAINING,
    shown=False,
    help="Shares of the pixels that are replaced, repeatable. Default: 0.1, 0.3, 0.5, 0.7, 0.9.",
)
SWAP = Option(
    "swap",
    "number",
    range=INSIDE,
    panel=_RETRAINING,
    help="retrained-stability: share of the training images that the second network does not see. "
    "Default: 0.1.",
)
REPEATS = Option(
    "repeats",
    "whole",
    range=MANY,
    panel=_RETRAINING,
    help="Trainings of each kind. Default: 3.",
)
REPLACED = Option(
    "replaced",
    choices=("pixel", "value"),
    panel=_RETRAINING,
    help="Pixels in all their channels, or single values of a channel. Default: pixel.",
)
RANDOMISE = Option(
    "randomise",
    choices=("auto", "reinit", "shuffle"),
    panel=_SANITY,
    help="The layer's own initialisation, or its weights in another order; auto takes the "
    "first where the format allows it. Default: auto.",
)
DRAWS = Option("draws", "whole", range=MANY, panel=_SANITY, help="Of random weights. Default: 2.")
STAGES = Option(
    "stages",
    "whole",
    range=Range(0, MANY.high),
    panel=_SANITY,
    help="How many numbers of layers are tried; 0 tries all. Default: 10.",
)
SSIM_WINDOW = Option(
    "ssim_window",
    "whole",
    parameter="window",
    range=Range(3, SIDE.high),
    panel=_SANITY,
    help="Side of the windows of the structural similarity, pixels, odd. Default: 7.",
)
SSIM_RANGE = Option(
    "ssim_range",
    "number",
    range=POSITIVE,
    panel=_SANITY,
    help="Range of values that the structural similarity takes maps to have. Default: 1.",
)
K = Option(
    "k",
    "fraction",
    range=INSIDE,
    panel=_OTHER,
    help="stability: share of the pixels. Default: 0.4.",
)
PIXELS_COMPARED = Option(
    "pixels",
    choices=("all", "nonzero"),
    panel=_OTHER,
    help="stability: of all pixels, or of those where the first map is not 0. Default: all.",
)
TOP = Option(
    "top",
    "number",
    range=INSIDE,
    many=True,
    panel=_OTHER,
    shown=False,
    help="gaze-overlap: share of the pixels, repeatable. Default: 0.05, 0.1.",
)
RADIUS = Option(
    "radius",
    "fraction",
    range=Range(0, BUDGET.high, above=True),
    panel=_OTHER,
    help="max-sensitivity: largest change of a pixel value. Default: 0.02.",
)
SIGMAS = Option(
    "sigma",
    "number",
    parameter="sigmas",
    range=Range(0, NOISE.high, above=True),
    many=True,
    panel=_OTHER,
    shown=False,
    help="Noise of density-profile (repeatable) and infidelity, pixel values.",
)
SIGMA = replace(SIGMAS, parameter="", many=False)
PERTURBATIONS = Option(
    "perturbations",
    "whole",
    range=MANY,
    panel=_OTHER,
    help="Noisy images of max-sensitivity, infidelity and first-order-fidelity. Default: 10, "
    "50 and 64.",
)
LEVEL_DRAWS = Option(
    "level_draws",
    "whole",
    range=Range(2, MANY.high),
    panel=_OTHER,
    help="level-coherence: noisy images. Default: 16.",
)
LEVELS = Option(
    "levels",
    "number",
    range=Range(0, NOISE.high, above=True),
    many=True,
    panel=_OTHER,
    shown=False,
    help="first-order-fidelity: largest change of a pixel value in levels of 1/255, repeatable. "
    "Default: 0.5, 2, 8.",
)
MIDPOINTS = Option(
    "midpoints",
    "whole",
    range=MANY,
    panel=_OTHER,
    help="completeness: gradients on the way to a lower contrast. Default: 16.",
)
MASK_VIEW = replace(
    VIEW,
    parameter="opacity",
    choices=tuple(name for name in VIEW.choices if name != "symmetric"),
    help="retrieval, class-evidence: how a map becomes what an image is shown through: from its "
    "least magnitude to the 99th percentile or the largest, or a mask as it is. Default: "
    "percentile99.",
)
"""`VIEW` without signs, of which a mask has none."""
EXPLAIN_CLASS = Option(
    "explain_class",
    "whole",
    parameter="classes",
    range=INDEX,
    many=True,
    panel=_OTHER,
    shown=False,
    help="class-evidence: class to explain, repeatable. Default: the three runners-up.",
)
EPS = Option(
    "eps",
    "fraction",
    range=BUDGET,
    panel=_OTHER,
    help="robust-accuracy, manifold-distance: budget. Default: 8/255, and 6 (in l2).",
)
NORM = Option(
    "norm",
    choices=("linf", "l2"),
    panel=_OTHER,
    help="robust-accuracy: of the budget. Default: linf.",
)
ATTACK_STEPS = Option(
    "attack_steps",
    "whole",
    range=MANY,
    panel=_OTHER,
    help="robust-accuracy, manifold-distance: of one start. Default: 20, and 40.",
)
RESTARTS = Option(
    "restarts", "whole", range=MANY, panel=_OTHER, help="robust-accuracy: starts. Default: 1."
)
PATCH_SIDE = Option(
    "patch_side",
    "whole",
    range=SIDE,
    panel=_OTHER,
    help="known-answer: side of the patch, pixels. Default: a fifth of the shorter side.",
)
PATCH_OPACITY = Option(
    "patch_opacity",
    "fraction",
    range=Range(0, 1, above=True),
    panel=_OTHER,
    help="known-answer: how much of its pattern stands in place of the image. Default: 0.7.",
)
PLANT_STEPS = Option(
    "plant_steps",
    "whole",
    range=MANY,
    panel=_OTHER,
    help="known-answer: steps that a copy is trained for. Default: 400.",
)
PLANT_LR = Option(
    "plant_lr",
    "fraction",
    range=POSITIVE,
    panel=_OTHER,
    shown=False,
    help="known-answer: learning rate of that. Default: 0.001.",
)
GAN_SAMPLES = Option(
    "gan_samples",
    "whole",
    parameter="count",
    range=MANY,
    panel=_SAMPLES,
    help="gan-test: how many. Default: 100; with --denoise one of each image.",
)
GAN_STEPS = Option(
    "gan_steps",
    "whole",
    parameter="steps",
    range=MANY,
    panel=_SAMPLES,
    help="gan-test: gradient steps of each. Default: 500; 200 with --denoise.",
)
GAN_LR = Option(
    "gan_lr",
    "number",
    parameter="lr",
    range=POSITIVE,
    panel=_SAMPLES,
    help="gan-test: length of a step, over the gradient's. Default: 0.1; 0.01 with --denoise.",
)
GAN_DECAY = Option(
    "gan_decay",
    "number",
    parameter="decay",
    range=WEIGHT,
    panel=_SAMPLES,
    help="gan-test: pull towards grey. Default: 0.01; 0 with --denoise.",
)
LANGEVIN = Option(
    "langevin",
    "number",
    range=POSITIVE,
    panel=_SAMPLES,
    help="gan-test: temperature of noise in each step, 1 for Langevin dynamics of exp(logit). "
    "Default: none.",
)
DENOISE = Option(
    "denoise",
    "number",
    range=Range(0, NOISE.high, above=True),
    panel=_SAMPLES,
    help="gan-test: start from the images of --data with noise of this standard deviation (P0: "
    "0.1), and climb the class of each. Default: start from noise.",
)
WANTED_CLASS = Option(
    "wanted_class",
    "whole",
    parameter="classes",
    range=INDEX,
    many=True,
    panel=_SAMPLES,
    shown=False,
    help="gan-test: class that samples are made for, repeatable; several in turn. Default: all.",
)
CURVE = (STEPS, FILL, REDUCE)
SHARES = (POINTS, FILL, REDUCE)
OF_SANITY = (RANDOMISE, DRAWS, STAGES, SSIM_WINDOW, SSIM_RANGE)


METRICS: dict[str, Metric] = {
    "discriminative": Metric(
        "metrics.deletion:discriminative",
        "map",
        {
            "discriminative": _check(
                "area under the accuracy as the least salient pixels are replaced",
                True,
                (0, 1),
                "P0 section 5.2.1",
                axes=(_REPLACED, "accuracy"),
            )
        },
        verdict="random",
        needs=("labels",),
        takes=("judge",),
        options=SHARES,
        exclusive=True,
        scores=True,
    ),
    "deletion": Metric(
        "metrics.deletion:deletion",
        "map",
        {
            "deletion": _check(
                "area under the class probability as the most salient pixels are replaced",
                False,
                (0, 1),
                "P2 S3.3; RISE (Petsiuk et al. 2018)",
                axes=(_REPLACED, _PROBABILITY),
            )
        },
        verdict="random",
        options=CURVE,
        scores=True,
    ),
    "preservation": Metric(
        "metrics.deletion:preservation",
        "map",
        {
            "preservation": _check(
                "area under the class probability as the least salient pixels are replaced",
                True,
                (0, 1),
                "P2 S3.3",
                axes=(_REPLACED, _PROBABILITY),
            )
        },
        verdict="random",
        options=CURVE,
        scores=True,
    ),
    "insertion": Metric(
        "metrics.deletion:insertion",
        "map",
        {
            "insertion": _check(
                "area under the class probability as salient pixels return to the blurred image",
                True,
                (0, 1),
                "RISE (Petsiuk et al. 2018)",
                axes=("share of pixels returned", _PROBABILITY),
            )
        },
        verdict="random",
        options=(STEPS, REDUCE),
        scores=True,
    ),
    "deletion-gap": Metric(
        "metrics.deletion:deletion_gap",
        "map",
        {
            "deletion-gap": _check(
                "preservation minus deletion, in which what replacing alone does cancels",
                True,
                (-1, 1),
                "ours, after symmetric relevance gain (Blücher et al. 2024)",
                chance="0",
                axes=(_REPLACED, "preservation minus deletion"),
            )
        },
        verdict="random",
        options=CURVE,
        scores=True,
    ),
    "aopc": Metric(
        "metrics.aopc:aopc",
        "map",
        {
            "aopc": _check(
                "mean drop of the class probability as the most salient regions are replaced",
                True,
                (-1, 1),
                "P1 C.2.4; Samek et al. 2017",
                axes=("regions replaced", "drop of the class probability"),
            )
        },
        verdict="random",
        options=(REGIONS, UNIT, FILL, REDUCE),
        check="metrics.aopc:refuse_aopc",
        scores=True,
    ),
    "density-perturbation": Metric(
        "metrics.deletion:density_perturbation",
        "map",
        {
            "density-perturbation": _check(
                "mean change of the class's logit as the least salient pixels are replaced; "
                "reads logits, so whoever shifts them forges it",
                True,
                (-inf, inf),
                "P0 section 4.2",
                axes=(_REPLACED, "change of the class's logit"),
            )
        },
        verdict="random",
        options=SHARES,
        scores=True,
    ),
    "sanity-cascade": Metric(
        "metrics.sanity:sanity_cascade",
        "method",
        {
            **_similarities("sanity-cascade", "layers"),
            "sanity-cascade-map-norm": _check(
                "norm of the randomised model's map over that of the given model's",
                None,
                (0, inf),
                "ours: a vanishing map is no evidence",
            ),
            "sanity-cascade-output-change": _check(
                "how far the randomised model's logits are from the given ones, over their size",
                True,
                (0, inf),
                "ours: a model that does not stand in its weights is no evidence",
            ),
            "sanity-cascade-logit-spread": _check(
                "standard deviation of the randomised model's logits over the given model's",
                None,
                (0, inf),
                "ours: a constant model is no evidence",
            ),
        },
        verdict="half",
        says=("depends on the model", "depend on the model"),
        answer="randomised=mean",
        options=OF_SANITY,
        check="metrics.sanity:refuse_sanity",
    ),
    "sanity-independent": Metric(
        "metrics.sanity:sanity_independent",
        "method",
        _similarities("sanity-independent", "the layer"),
        answer="randomised=each",
        options=OF_SANITY,
        check="metrics.sanity:refuse_sanity",
    ),
    "sparsity-gini": Metric(
        "metrics.sparsity:sparsity_gini",
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
        "metrics.sparsity:sparsity_hoyer",
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
        "metrics.stability:stability",
        "method",
        _overlaps(
            "stability", "share of the most salient pixels that the map of another model has too"
        ),
        verdict="random",
        needs=("other",),
        options=(K, PIXELS_COMPARED),
    ),
    "retrained-stability": Metric(
        "metrics.stability:retrained_stability",
        "method",
        _overlaps("retrained-stability", "of two networks trained anew, the same salient pixels"),
        verdict="random",
        needs=("train", "labels"),
        networks=("again", "swapped"),
        options=(K, PIXELS_COMPARED, SWAP),
    ),
    "label-randomisation": Metric(
        "metrics.label_randomisation:label_randomisation",
        "method",
        {
            **{
                name: replace(check, summary=check.summary.replace(_DRAWN, _PERMUTED))
                for name, check in _similarities("label-randomisation", "").items()
            },
            "label-randomisation-agreement": _check(
                "1 if the network trained on others' labels says the given model's class",
                None,
                (0, 1),
                "ours",
                proportion=True,
            ),
        },
        verdict="half",
        says=("depends on the labels", "depend on the labels"),
        needs=("train", "labels"),
        networks=("permuted",),
        options=(SSIM_WINDOW, SSIM_RANGE),
        check="metrics.sanity:refuse_sanity",
    ),
    "roar": Metric(
        "metrics.roar:roar",
        "training",
        _retrained(
            "roar",
            "accuracy lost by training without the most salient pixels, beside random ones",
            "without the most salient pixels",
        ),
        verdict="random",
        needs=("train", "labels"),
        options=(FRACTIONS, REPEATS, REPLACED),
        exclusive=True,
        check="metrics.retraining:refuse_fractions",
    ),
    "kar": Metric(
        "metrics.roar:kar",
        "training",
        _retrained(
            "kar",
            "accuracy kept by training on the most salient pixels alone, beside random ones",
            "without the least salient pixels",
        ),
        verdict="random",
        needs=("train", "labels"),
        options=(FRACTIONS, REPEATS, REPLACED),
        exclusive=True,
        check="metrics.retraining:refuse_fractions",
    ),
    "diffroar": Metric(
        "metrics.diffroar:diffroar",
        "training",
        {
            "diffroar": _check(
                "accuracy of training without the least salient pixels minus without the most",
                True,
                (-1, 1),
                "P1 B.5; Shah et al. 2021",
                chance="0",
            ),
            "diffroar-at": _check(
                "the same with one share of the pixels replaced",
                True,
                (-1, 1),
                "P1 B.5; Shah et al. 2021",
                chance="0",
            ),
        },
        verdict="random",
        needs=("train", "labels"),
        options=(FRACTIONS, REPEATS, REPLACED),
        exclusive=True,
        check="metrics.retraining:refuse_fractions",
    ),
    "known-answer": Metric(
        "metrics.known_answer:known_answer",
        "method",
        {
            "known-answer": _check(
                "share of the most salient pixels that lie in a patch which decides the class",
                True,
                (0, 1),
                "ours, after BackX",
                chance="share",
            ),
            "known-answer-trigger": _check(
                "1 if the copy's class is that of the patch laid on the image",
                True,
                (0, 1),
                "ours",
                proportion=True,
            ),
            "known-answer-agreement": _check(
                "1 if without a patch the copy's class is the given model's",
                True,
                (0, 1),
                "ours",
                proportion=True,
            ),
        },
        verdict="random",
        needs=("train",),
        options=(PATCH_SIDE, PATCH_OPACITY, PLANT_STEPS, PLANT_LR),
        check="metrics.known_answer:refuse_known_answer",
        exclusive=True,
    ),
    "gaze-overlap": Metric(
        "metrics.gaze_overlap:gaze_overlap",
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
        options=(TOP,),
    ),
    "pointing-game": Metric(
        "metrics.pointing_game:pointing_game",
        "map",
        {
            "pointing-game": _check(
                "1 if the most salient pixel lies in the annotated part",
                True,
                (0, 1),
                "Zhang et al. 2018",
                proportion=True,
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
        "metrics.sensitivity:max_sensitivity",
        "method",
        {
            "max-sensitivity": _check(
                "largest relative change of the map under small noise on the image",
                False,
                (0, inf),
                "Yeh et al. 2019",
            )
        },
        options=(RADIUS, PERTURBATIONS),
    ),
    "level-coherence": Metric(
        "metrics.level_coherence:level_coherence",
        "method",
        {
            "level-coherence": _check(
                "share of the map in common with those of all images stored as this one",
                True,
                (-1, 1),
                "ours",
            )
        },
        verdict="half",
        says=("follows from the stored image", "follow from the stored image"),
        options=(LEVEL_DRAWS,),
    ),
    "infidelity": Metric(
        "metrics.sensitivity:infidelity",
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
        options=(SIGMA, PERTURBATIONS),
        scores=True,
    ),
    "class-evidence": Metric(
        "metrics.class_evidence:class_evidence",
        "method",
        {
            "class-evidence": _check(
                "1 if the image shown through a chosen class's map is classified as that class",
                True,
                (0, 1),
                "P2 S3.6",
                proportion=True,
            )
        },
        verdict="random",
        options=(EXPLAIN_CLASS, MASK_VIEW),
        check="metrics.class_evidence:refuse_classes",
        exclusive=True,
        scores=True,
    ),
    "retrieval": Metric(
        "metrics.retrieval:retrieval_rate",
        "map",
        {
            "retrieval": _check(
                "1 if the image shown through its map keeps its class",
                True,
                (0, 1),
                "P2",
                proportion=True,
            )
        },
        verdict="random",
        options=(FILL, MASK_VIEW),
        scores=True,
    ),
    "accuracy": Metric(
        "metrics.accuracy:clean_accuracy",
        "model",
        {
            "accuracy": _check(
                "1 if the predicted class is the label",
                True,
                (0, 1),
                "P0 section 5",
                chance="1/classes",
                code="metrics.accuracy:accuracy",
                proportion=True,
            )
        },
        needs=("labels",),
        exclusive=True,
    ),
    "robust-accuracy": Metric(
        "metrics.accuracy:robust_accuracy",
        "model",
        {
            "robust-accuracy": _check(
                "1 if the class is right and stays so under PGD",
                True,
                (0, 1),
                "P4 Table 1",
                proportion=True,
            )
        },
        needs=("labels",),
        options=(EPS, NORM, ATTACK_STEPS, RESTARTS),
        check="metrics.accuracy:refuse_robust",
        exclusive=True,
        scores=True,
    ),
    "gan-test": Metric(
        "metrics.gan_test:gan_test",
        "samples",
        {
            "gan-test": _check(
                "1 if a judge gives a sample of the model the class it was made for; reads logits, "
                "so whoever shifts them forges it",
                True,
                (0, 1),
                "P0 section 5.1.2; Shmelkov et al. 2018",
                chance="1/classes",
                proportion=True,
            ),
            "gan-test-start": _check(
                "1 if the judge gives that class to what the sample was made from",
                None,
                (0, 1),
                "ours",
                chance="1/classes",
                proportion=True,
            ),
            "gan-test-own": _check(
                "1 if the model itself gives the sample that class",
                None,
                (0, 1),
                "ours",
                chance="1/classes",
                proportion=True,
            ),
            "gan-test-confidence": _check(
                "the judge's probability of that class", None, (0, 1), "ours"
            ),
            "gan-test-judge-accuracy": _check(
                "1 if the judge gives a real image its label",
                None,
                (0, 1),
                "P0 section 5.1.2",
                chance="1/classes",
                proportion=True,
            ),
        },
        needs=("judge",),
        options=(
            GAN_SAMPLES,
            GAN_STEPS,
            GAN_LR,
            GAN_DECAY,
            LANGEVIN,
            DENOISE,
            WANTED_CLASS,
        ),
        exclusive=True,
        check="metrics.gan_test:refuse_samples",
    ),
    "manifold-distance": Metric(
        "metrics.manifold_distance:manifold_distance",
        "model",
        {
            "manifold-distance": _check(
                "L2 distance of an adversarial example to its projection on a manifold of images, "
                "values in [-1, 1]",
                None,
                (0, inf),
                "P3 section 2.1",
            ),
            "manifold-distance-clean": _check(
                "the same of the image as it is", None, (0, inf), "P3 section 2.1"
            ),
            "manifold-distance-noise": _check(
                "the same of the image with noise of the length of the example's change",
                None,
                (0, inf),
                "ours",
            ),
            **{
                f"manifold-distance{of}-median": _check(
                    f"median of manifold-distance{of} over images", None, (0, inf), "P3 Figure 1"
                )
                for of in ("", "-clean", "-noise")
            },
        },
        needs=("manifold",),
        takes=("train",),
        controls=("manifold-distance-clean", "manifold-distance-noise"),
        options=(EPS, ATTACK_STEPS),
        check="metrics.manifold_distance:refuse_budget",
        scores=True,
    ),
    "gradient-norm-target": Metric(
        "metrics.gradient_norm:gradient_norm_target",
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
        "metrics.gradient_norm:gradient_norm_others",
        "model",
        {
            "gradient-norm-others": _check(
                "mean L2 norm of the gradients of the other logits", None, (0, inf), "P4 Table 3"
            )
        },
    ),
    "density-profile": Metric(
        "metrics.density_profile:density_profile",
        "model",
        {
            "density-profile": _check(
                "log-ratio of the implicit density of a noisy image to that of the image",
                False,
                (-inf, inf),
                "P0 section 5.1.1",
                axes=(
                    "standard deviation of the noise, pixels in [0, 1]",
                    "log-ratio of the density",
                ),
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
        options=(SIGMAS,),
        scores=True,
    ),
    "scalar-agreement": Metric(
        "metrics.scalar_agreement:scalar_agreement",
        "model",
        {
            "scalar-agreement": _check(
                "cosine of the logit map with the centred-logit map; low = shifted logits",
                True,
                (-1, 1),
                "P0 section 2",
                code="metrics.similarity:cosine",
            )
        },
        exclusive=True,
    ),
    "completeness": Metric(
        "metrics.completeness:completeness",
        "model",
        {
            "completeness": _check(
                "part of what the logit does as contrast falls, and in random directions, that no "
                "gradient tells; 1 = they show something else",
                False,
                (0, 2),
                "ours; Sundararajan et al. 2017",
            ),
            "completeness-log-prob": _check(
                "the same of the log-probability", False, (0, 2), "ours; Sundararajan et al. 2017"
            ),
        },
        options=(MIDPOINTS,),
        scores=True,
    ),
    "first-order-fidelity": Metric(
        "metrics.first_order_fidelity:first_order_fidelity",
        "model",
        {
            "first-order-fidelity": _check(
                "correlation of the logit's change under noise with what the gradient predicts",
                True,
                (-1, 1),
                "ours",
                chance="0",
                axes=("size of the noise, levels of 1/255", "correlation"),
            )
        },
        options=(LEVELS, PERTURBATIONS),
        check="metrics.first_order_fidelity:refuse_few",
        scores=True,
    ),
}

CHECKS: dict[str, Check] = {
    "prediction-kept": Check(
        "metrics.changes:prediction_kept",
        "1 if the prediction is the same",
        True,
        (0, 1),
        "P0 section 2",
        proportion=True,
    ),
    "prob-change": Check(
        "metrics.changes:prob_change",
        "largest change of a class probability",
        False,
        (0, 1),
        "P0 section 2",
    ),
    "logit-change": Check(
        "metrics.changes:logit_change",
        "largest change of a logit, the size of a shift",
        None,
        (0, inf),
        "P0 section 2",
    ),
    "loss-change": Check(
        "metrics.changes:loss_change",
        "change of the cross-entropy, nats",
        False,
        (0, inf),
        "P0 B.1",
    ),
    "loss-gradient-change": Check(
        "metrics.changes:loss_gradient_change",
        "relative L2 change of its gradient",
        None,
        (0, inf),
        "P0 B.1",
    ),
    "gradient-bound-share": Check(
        "metrics.changes:gradient_bound_share",
        "L1 change of the loss gradient over its bound",
        None,
        (0, 1),
        "P0 App. B.1",
    ),
    "cosine": Check(
        "metrics.similarity:cosine", "cosine of two signed maps", None, (-1, 1), "the definition"
    ),
    "spearman": Check(
        "metrics.similarity:spearman",
        "rank correlation of two signed maps, channels averaged",
        None,
        (-1, 1),
        "P2 S3.4, ties at average rank",
    ),
    "spearman-abs": Check(
        "metrics.similarity:spearman",
        "rank correlation of two maps' magnitudes",
        True,
        (-1, 1),
        "P2 S3.4, ties at average rank",
    ),
    "topk-intersection": Check(
        "metrics.similarity:topk_intersection",
        "share of the k most salient pixels that two maps have in common",
        True,
        (0, 1),
        "Ghorbani 2019; P2 S3.4",
    ),
    "pearson": Check(
        "metrics.similarity:pearson",
        "correlation of two maps' magnitudes",
        True,
        (-1, 1),
        "P2 S3.4",
    ),
    "ssim": Check(
        "metrics.ssim:ssim",
        "structural similarity of two maps' magnitudes",
        True,
        (-1, 1),
        "P2 S3.4; Wang 2004",
    ),
    "mse": Check(
        "metrics.similarity:mse",
        "mean squared difference of two maps that add up to 1",
        False,
        (0, inf),
        "P2 S3.4",
    ),
    "mass-center-shift": Check(
        "metrics.similarity:mass_center_shift",
        "way of the map's centre of mass, pixels",
        False,
        (0, inf),
        "Ghorbani 2019",
    ),
    "cosine-to-picture": Check(
        "metrics.similarity:cosine",
        "cosine of the map's magnitude with a wanted picture",
        None,
        (0, 1),
        "P0 section 2",
    ),
    "spearman-to-picture": Check(
        "metrics.similarity:spearman", "rank correlation of the same", None, (-1, 1), "P0 section 2"
    ),
    "cosine-to-frame": Check(
        "metrics.similarity:cosine",
        "cosine of the map's magnitude with a frame at the border",
        None,
        (0, 1),
        "Heo et al. 2019",
    ),
    "cosine-to-other-class": Check(
        "metrics.similarity:cosine",
        "cosine of the map's magnitude with the given model's for the second likeliest class",
        None,
        (0, 1),
        "Heo et al. 2019",
    ),
    "mass-off-salient": Check(
        "metrics.similarity:mass_in_target",
        "share of the map's mass off the tenth of the pixels that was most salient",
        None,
        (0, 1),
        "Heo et al. 2019",
        chance="0.9",
    ),
    "mass-center-way": Check(
        "metrics.similarity:mass_center_way",
        "way of the map's centre of mass, 1 to the farthest corner",
        None,
        (0, 1),
        "Heo et al. 2019",
    ),
    "held-out-accuracy": Check(
        "metrics.accuracy:accuracy",
        "1 if a training image that was held out is classified right",
        True,
        (0, 1),
        "Heo et al. 2019",
        chance="1/classes",
        proportion=True,
    ),
    "confidence": Check(None, "probability of what is predicted", None, (0, 1), "ours"),
    "map-defined": Check(
        None,
        "1 if there is a map: finite, and not the same everywhere",
        True,
        (0, 1),
        "ours",
        proportion=True,
    ),
    "map-passes": Check(None, "model passes that a map takes", None, (0, inf), "ours"),
    "attack-success": Check(
        None,
        "1 if the attack changed the prediction within its budget",
        None,
        (0, 1),
        "Madry et al. 2018",
        proportion=True,
    ),
    "mse-to-target": Check(
        "metrics.similarity:mse", "mse between a map and a wanted one", None, (0, inf), "P2 S2.2"
    ),
    "pearson-to-target": Check(
        "metrics.similarity:pearson",
        "correlation of a map with a wanted one",
        None,
        (-1, 1),
        "P2 S2.2",
    ),
    "mass-in-target": Check(
        "metrics.similarity:mass_in_target",
        "share of the map's mass in a wanted region",
        None,
        (0, 1),
        "Ghorbani 2019",
    ),
    "confidence-change": Check(
        "metrics.changes:confidence_change",
        "change of the predicted class's probability",
        None,
        (-1, 1),
        "ours",
    ),
    "l2-distance": Check(
        "metrics.changes:l2_distance",
        "length of the change of an image, pixel units",
        None,
        (0, inf),
        "P2 S3",
    ),
    "linf-distance": Check(
        "metrics.changes:linf_distance",
        "largest change of a value of an image",
        None,
        (0, inf),
        "P2 S3",
    ),
    **{
        f"retrieval-{shown}-{through}": Check(
            "metrics.retrieval:retrieval",
            f"prediction survives when the {shown} image is shown through the {through} image's "
            "map",
            None,
            (0, 1),
            "P2 (retrieval rate)",
            proportion=True,
        )
        for shown in ("clean", "attacked")
        for through in ("clean", "attacked")
    },
    "surrogate-agreement": Check(
        "metrics.similarity:cosine",
        "cosine of the gradient map with that of the smooth stand-in",
        True,
        (-1, 1),
        "Dombrowski et al. 2019; ours",
    ),
    **{name: check for metric in METRICS.values() for name, check in metric.checks.items()},
}
"""By the name in every table."""

OF_TRAININGS = frozenset(
    check for metric in METRICS.values() if metric.of == "training" for check in metric.checks
)
"""Checks whose values are of trainings, not of images."""
PROPORTIONS = frozenset(name for name, check in CHECKS.items() if check.proportion)
"""Those that are 0 or 1 for each image."""
