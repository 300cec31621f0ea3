"""Options of metrics and saliency methods as the papers and their code have them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Options by metric, under one name.

    Attributes:
        summary: one line, for ``saliency-audit list``.
        options: by metric.
        deviations: what is not as in the source.
        methods: options of saliency methods, by the names that they have there.
        saliency: the method that those are for.
        warning: what a run with it tells; empty for nothing.
    """

    summary: str
    options: Mapping[str, Mapping[str, Any]]
    deviations: str = ""
    methods: Mapping[str, Any] = field(default_factory=dict)
    saliency: str = ""
    warning: str = ""


_P2: Mapping[str, Mapping[str, Any]] = {
    "deletion": {"steps": 224, "fill": "model-mean"},
    "preservation": {"steps": 224, "fill": "model-mean"},
    "deletion-gap": {"steps": 224, "fill": "model-mean"},
    "retrieval": {"fill": "model-mean"},
}
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
    "p0-gan-test": Preset(
        "P0 5.1.2 and its code: 1,000 samples, 500 steps of 0.1, decay 0.01",
        {"gan-test": {"count": 1000, "steps": 500, "lr": 0.1, "decay": 0.01}},
        "classes go round, where the code takes those of test labels (1,024 of them, in batches "
        "of 256); samples are judged as an 8-bit file holds them",
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
        _P2,
        "224 steps whatever the size of the image; all maps are cut at their 99th percentile, "
        "where P2 has --view minmax for Grad-CAM and --view none for RelEx",
    ),
    "relex-paper": Preset(
        "P2 S2.1: the metrics of p2 with masks as they are, and RelEx as the supplement states "
        "it: 100 copies, 50 steps of 0.001",
        {**_P2, "retrieval": {"fill": "model-mean", "opacity": "none"}},
        "such steps cannot move the mask, as the run says; the defaults of relex are those of P2's "
        "code (50 copies, steps of 0.1, momentum 0.99)",
        {"copies": 100, "iterations": 50, "lr": 0.001, "momentum": 0.0},
        saliency="relex",
        warning="WARNING: --preset relex-paper: 50 steps of 0.001 move a mask by at most 0.05 in "
        "L2, of 2.2 that it starts with (of 3x224x224 values): the map stays the random numbers "
        "that it starts from; the defaults of relex are those of P2's code",
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
