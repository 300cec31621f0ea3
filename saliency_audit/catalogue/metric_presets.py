"""Options of the metrics as the papers and their code have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Options by metric, under one name.

    Attributes:
        summary: one line, for ``saliency-audit list``.
        options: by metric.
        deviations: what is not as in the source.
    """

    summary: str
    options: Mapping[str, Mapping[str, Any]]
    deviations: str = ""


_RANDOMISED = {"randomise": "reinit", "stages": 0, "window": 5, "ssim_range": 2.0}

PRESETS: dict[str, Preset] = {
    "p0": Preset(
        "P0 5.2.1: least salient first, the image's mean colour, 25 shares from 1 % to 100 %",
        {
            "discriminative": {"points": 25, "fill": "image-mean"},
            "density-perturbation": {"points": 25, "fill": "image-mean"},
        },
    ),
    "p0-code": Preset(
        "P0's code: grey 0.5, relevance is the spread over the channels",
        {
            "discriminative": {"points": 25, "fill": "0.5", "reduce": "std"},
            "density-perturbation": {"points": 25, "fill": "0.5", "reduce": "std"},
        },
        "exactly k pixels are replaced, where the code replaces k - 1",
    ),
    "p1": Preset(
        "P1: AOPC over 20, 50 and 100 regions; sanity cascade over all layers; gaze at 5 and 10 %",
        {
            "aopc": {"counts": (20, 50, 100), "unit": "region", "fill": "noise"},
            "sanity-cascade": {"randomise": "reinit", "stages": 0},
            "sanity-independent": {"randomise": "reinit", "stages": 0},
            "stability": {"k": 0.4, "pixels": "nonzero"},
            "gaze-overlap": {"top": (0.05, 0.1)},
        },
        "regions and fill are not stated in P1: those of Samek et al. 2017",
    ),
    "p2": Preset(
        "P2 S3.3: a row of pixels (224) a step, the mean colour of the network's input",
        {
            "deletion": {"steps": 224, "fill": "model-mean"},
            "preservation": {"steps": 224, "fill": "model-mean"},
            "deletion-gap": {"steps": 224, "fill": "model-mean"},
            "retrieval": {"fill": "model-mean"},
        },
        "224 steps whatever the size of the image",
    ),
    "p3": Preset(
        "P3 4.2: five shares, three trainings each; give --recipe epochs=20 for its epochs",
        {
            "roar": {"fractions": (0.1, 0.3, 0.5, 0.7, 0.9), "repeats": 3},
            "kar": {"fractions": (0.1, 0.3, 0.5, 0.7, 0.9), "repeats": 3},
        },
        "random maps replace exactly the share, and ties are ordered by lot",
    ),
    "hooker": Preset(
        "Hooker et al. 2019: values of single channels, five trainings each",
        {"roar": {"fractions": (0.1, 0.3, 0.5, 0.7, 0.9), "repeats": 5, "replaced": "value"}},
        "the training images' mean colour, where the code has ImageNet's for every data set",
    ),
    "adebayo": Preset(
        "Adebayo et al. 2018: the layers' own initialisation, every layer, SSIM of maps in [-1, 1]",
        {"sanity-cascade": _RANDOMISED, "sanity-independent": _RANDOMISED},
    ),
}
