"""Measured quantities: one function a file, one line here."""

from math import inf

from saliency_audit.metrics.accuracy import accuracy
from saliency_audit.metrics.cosine import cosine
from saliency_audit.metrics.gradient_bound_share import gradient_bound_share
from saliency_audit.metrics.logit_change import logit_change
from saliency_audit.metrics.loss_change import loss_change
from saliency_audit.metrics.loss_gradient_change import loss_gradient_change
from saliency_audit.metrics.prediction_kept import prediction_kept
from saliency_audit.metrics.prob_change import prob_change
from saliency_audit.metrics.spearman import spearman
from saliency_audit.types import Check

CHECKS: dict[str, Check] = {
    "accuracy": Check(
        accuracy, "1 if the predicted class is the label", True, (0, 1), "P0 section 5"
    ),
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
        spearman, "rank correlation of two maps", None, (-1, 1), "P2 S3.4, ties at average rank"
    ),
    "cosine-to-picture": Check(
        cosine, "cosine of the map's magnitude with a wanted picture", None, (0, 1), "P0 section 2"
    ),
    "spearman-to-picture": Check(
        spearman, "rank correlation of the same", None, (-1, 1), "P0 section 2"
    ),
    "scalar-agreement": Check(
        cosine,
        "cosine of the logit map with the centred-logit map; low = shifted logits",
        True,
        (-1, 1),
        "P0 section 2",
    ),
}
