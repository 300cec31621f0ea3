"""What a user can set of ``evaluate``."""

from saliency_audit.commands.options import (
    ARGUMENT,
    MAPS,
    OF_MAPS,
    OF_MODEL,
    OF_RUN,
    SCALAR,
    of_images,
)
from saliency_audit.options import Option

OPTIONS = (
    ARGUMENT,
    Option(
        "metric",
        many=True,
        panel="Metrics",
        shown=False,
        help="Metric, repeatable; see `saliency-audit list metrics`. Default: deletion, "
        "preservation, sanity-cascade, scalar-agreement.",
    ),
    Option(
        "preset",
        choices=("p0", "p0-code", "p1", "p2", "adebayo"),
        panel="Metrics",
        help="Options of the metrics as in a paper; without --metric, its metrics.",
    ),
    Option(
        "base",
        panel="Metrics",
        help="aopc: also report each method's relative drop against this one.",
    ),
    Option(
        "fail_on",
        choices=("worse", "not-distinguishable"),
        panel="Metrics",
        help="Exit with 1 if any map is worse than random or undefined (for "
        "not-distinguishable, if any is not better).",
    ),
    Option(
        "saliency",
        many=True,
        panel=MAPS,
        shown=False,
        help="Saliency method, repeatable; see `saliency-audit list saliency`. Default: "
        "gradient, smoothgrad, integrated-gradients, gradcam. The controls random and "
        "sobel are always measured too.",
    ),
    SCALAR,
    *OF_MAPS,
    Option(
        "compare",
        many=True,
        panel="Further models, maps and annotations",
        shown=False,
        help="A further model measured on the same images, repeatable; the paired difference "
        "to the first is reported.",
    ),
    Option(
        "judge",
        panel="Further models, maps and annotations",
        help="discriminative: the model whose accuracy is measured.",
    ),
    Option(
        "other",
        panel="Further models, maps and annotations",
        help="stability: the model to compare with.",
    ),
    Option(
        "maps",
        "path",
        panel="Further models, maps and annotations",
        help="Folder of maps made elsewhere (.npy, .npz, .png), one per image, named like it.",
    ),
    Option(
        "explain",
        panel="Further models, maps and annotations",
        help="A saliency method of yours, package.module:function or file.py:function, called "
        "as f(model, inputs, targets).",
    ),
    Option(
        "annotations",
        "path",
        panel="Further models, maps and annotations",
        help="gaze-overlap, pointing-game: folder of maps, or a CSV of boxes "
        "(path,xmin,ymin,xmax,ymax).",
    ),
    Option(
        "steps",
        "whole",
        panel="Replacing pixels",
        help="Points of deletion, preservation, insertion; default 32.",
    ),
    Option(
        "fill",
        panel="Replacing pixels",
        help="What replaces pixels: image-mean, dataset-mean, zero, model-mean (the colour "
        "that becomes 0), a value in [0,1], blur, noise. Default by metric.",
    ),
    Option(
        "reduce",
        choices=("mean", "std"),
        panel="Replacing pixels",
        help="A pixel's relevance: mean magnitude over channels, or P0's spread over them.",
    ),
    Option(
        "points",
        "whole",
        panel="Replacing pixels",
        help="Shares of pixels of discriminative, density-perturbation; default 25.",
    ),
    Option(
        "regions",
        "whole",
        many=True,
        panel="Replacing pixels",
        shown=False,
        help="aopc: how many regions, repeatable; default 20, 50, 100.",
    ),
    Option(
        "unit",
        choices=("region", "pixel"),
        panel="Replacing pixels",
        help="aopc: squares of 9 pixels at 224, or pixels.",
    ),
    Option(
        "randomise",
        choices=("auto", "reinit", "shuffle"),
        panel="Sanity checks",
        help="The layer's own initialisation, or its weights in another order; auto takes the "
        "first where the format allows it.",
    ),
    Option("draws", "whole", panel="Sanity checks", help="Of random weights; default 2."),
    Option(
        "stages",
        "whole",
        panel="Sanity checks",
        help="How many numbers of layers are tried; 0 tries all; default 10.",
    ),
    Option(
        "k", "fraction", panel="Other metrics", help="stability: share of the pixels; default 0.4."
    ),
    Option(
        "pixels",
        choices=("all", "nonzero"),
        panel="Other metrics",
        help="stability: of all pixels, or of those where the first map is not 0.",
    ),
    Option(
        "top",
        "number",
        many=True,
        panel="Other metrics",
        shown=False,
        help="gaze-overlap: share of the pixels, repeatable; default 0.05, 0.1.",
    ),
    Option(
        "radius",
        "fraction",
        panel="Other metrics",
        help="max-sensitivity: largest change of a pixel value; default 0.02.",
    ),
    Option(
        "sigma",
        "number",
        many=True,
        panel="Other metrics",
        shown=False,
        help="Noise of density-profile (repeatable) and infidelity, pixel values.",
    ),
    Option(
        "perturbations",
        "whole",
        panel="Other metrics",
        help="Noisy images of max-sensitivity (default 10), infidelity (50).",
    ),
    Option(
        "explain_class",
        "whole",
        many=True,
        panel="Other metrics",
        shown=False,
        help="class-evidence: class to explain, repeatable; default the three runners-up.",
    ),
    Option(
        "eps", "fraction", panel="Other metrics", help="robust-accuracy: budget; default 8/255."
    ),
    Option(
        "norm",
        choices=("linf", "l2"),
        panel="Other metrics",
        help="robust-accuracy: of the budget, default linf.",
    ),
    Option(
        "attack_steps",
        "whole",
        panel="Other metrics",
        help="robust-accuracy: of one start; default 20.",
    ),
    Option("restarts", "whole", panel="Other metrics", help="robust-accuracy: starts; default 1."),
    *of_images(32),
    *OF_MODEL,
    *OF_RUN,
)
