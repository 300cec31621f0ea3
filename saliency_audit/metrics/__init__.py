"""Measured quantities: one topic a file, one line here."""

from math import inf

from saliency_audit.metrics.changes import (
    confidence_change,
    gradient_bound_share,
    l2_distance,
    linf_distance,
    logit_change,
    loss_change,
    loss_gradient_change,
    prediction_kept,
    prob_change,
)
from saliency_audit.metrics.registry import METRICS as METRICS
from saliency_audit.metrics.retrieval import retrieval
from saliency_audit.metrics.similarity import (
    cosine,
    mass_center_shift,
    mass_in_target,
    mse,
    pearson,
    spearman,
    topk_intersection,
)
from saliency_audit.metrics.ssim import ssim
from saliency_audit.metrics.view import Measured as Measured
from saliency_audit.metrics.view import View as View
from saliency_audit.types import Check

CHECKS: dict[str, Check] = {
    "prediction-kept": Check(
        prediction_kept, "1 if the predicted class is the same", True, (0, 1), "P0 section 2"
    ),
    "prob-change": Check(
        prob_change, "largest change of a class probability", False, (0, 1), "P0 section 2"
    ),
    "logit-change": Check(
        logit_change,
        "largest change of a logit, the size of a shift",
        None,
        (0, inf),
        "P0 section 2",
    ),
    "loss-change": Check(
        loss_change, "change of the cross-entropy, nats", False, (0, inf), "P0 B.1"
    ),
    "loss-gradient-change": Check(
        loss_gradient_change, "relative L2 change of its gradient", None, (0, inf), "P0 B.1"
    ),
    "gradient-bound-share": Check(
        gradient_bound_share,
        "L1 change of the loss gradient over its bound",
        None,
        (0, 1),
        "P0 App. B.1",
    ),
    "cosine": Check(cosine, "cosine of two signed maps", None, (-1, 1), "the definition"),
    "spearman": Check(
        spearman,
        "rank correlation of two signed maps, channels averaged",
        None,
        (-1, 1),
        "P2 S3.4, ties at average rank",
    ),
    "spearman-abs": Check(
        spearman,
        "rank correlation of two maps' magnitudes",
        True,
        (-1, 1),
        "P2 S3.4, ties at average rank",
    ),
    "topk-intersection": Check(
        topk_intersection,
        "share of the k most salient pixels that two maps have in common",
        True,
        (0, 1),
        "Ghorbani 2019; P2 S3.4",
    ),
    "pearson": Check(pearson, "correlation of two maps' magnitudes", True, (-1, 1), "P2 S3.4"),
    "ssim": Check(
        ssim, "structural similarity of two maps' magnitudes", True, (-1, 1), "P2 S3.4; Wang 2004"
    ),
    "mse": Check(
        mse, "mean squared difference of two maps that add up to 1", False, (0, inf), "P2 S3.4"
    ),
    "mass-center-shift": Check(
        mass_center_shift,
        "way of the map's centre of mass, pixels",
        False,
        (0, inf),
        "Ghorbani 2019",
    ),
    "cosine-to-picture": Check(
        cosine, "cosine of the map's magnitude with a wanted picture", None, (0, 1), "P0 section 2"
    ),
    "spearman-to-picture": Check(
        spearman, "rank correlation of the same", None, (-1, 1), "P0 section 2"
    ),
    "mse-to-target": Check(mse, "mse between a map and a wanted one", None, (0, inf), "P2 S2.2"),
    "pearson-to-target": Check(
        pearson, "correlation of a map with a wanted one", None, (-1, 1), "P2 S2.2"
    ),
    "mass-in-target": Check(
        mass_in_target, "share of the map's mass in a wanted region", None, (0, 1), "Ghorbani 2019"
    ),
    "confidence-change": Check(
        confidence_change, "change of the predicted class's probability", None, (-1, 1), "ours"
    ),
    "l2-distance": Check(
        l2_distance, "length of the change of an image, pixel units", None, (0, inf), "P2 S3"
    ),
    "linf-distance": Check(
        linf_distance, "largest change of a value of an image", None, (0, inf), "P2 S3"
    ),
    **{
        f"retrieval-{shown}-{through}": Check(
            retrieval,
            f"prediction survives when the {shown} image is shown through the {through} image's "
            "map",
            None,
            (0, 1),
            "P2 (retrieval rate)",
        )
        for shown in ("clean", "attacked")
        for through in ("clean", "attacked")
    },
    "surrogate-agreement": Check(
        cosine,
        "cosine of the gradient map with that of the smooth stand-in",
        True,
        (-1, 1),
        "Dombrowski et al. 2019; ours",
    ),
    **{name: check for metric in METRICS.values() for name, check in metric.checks.items()},
}
