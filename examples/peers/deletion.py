"""Deletion beside Quantus and pytorch-grad-cam."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import quantus
import torch
from pair import SEED, Pair, Subject
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.metrics.road import ROADMostRelevantFirst
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import Tensor

from saliency_audit.metrics import METRICS

FILL = 0.5
STEPS = 28  # of 28 pixels each


def deletion_pairs(given: Subject) -> Iterator[Pair]:
    """Pixels replaced by one grey, the most salient first, 28 at a time."""
    shown = given.maps.abs()
    arrays = {
        "x_batch": given.images.numpy(),
        "y_batch": given.labels.numpy(),
        "a_batch": shown.numpy(),
    }
    targets = [ClassifierOutputSoftmaxTarget(label) for label in given.labels.tolist()]

    def ours(last: int = STEPS) -> Tensor:
        (found,) = METRICS["deletion"].function(given.view(), steps=STEPS, fill=str(FILL))
        return found.curve[:, 1 : last + 1]

    def our_area() -> Tensor:
        (found,) = METRICS["deletion"].function(given.view(), steps=STEPS, fill=str(FILL))
        return found.values

    def flipping(*, area: bool) -> Tensor:
        metric = quantus.PixelFlipping(
            features_in_step=given.images[0].numel() // STEPS,
            perturb_baseline=FILL,
            normalise=False,
            return_auc_per_sample=area,
            disable_warnings=True,
            display_progressbar=False,
        )
        scores = metric(
            model=given.model.network,
            **arrays,
            batch_size=len(given.images),
            softmax=True,
            channel_first=True,
            device="cpu",
        )
        return torch.tensor(np.array(scores))

    def removing(perturbation: Callable[[float], Any], last: int = STEPS) -> Tensor:
        scores = [
            perturbation(100 * (1 - step / STEPS))(
                given.images,
                shown[:, 0].numpy(),
                targets,
                given.model.network,
                return_diff=False,
            )
            for step in range(1, last + 1)
        ]
        return torch.from_numpy(np.stack(scores, axis=1))

    def grey(percentile: float) -> PerturbationConfidenceMetric:
        return PerturbationConfidenceMetric(
            RemoveMostRelevantFirst(
                percentile, lambda image, kept: image * kept + FILL * (1 - kept)
            )
        )

    def road() -> Tensor:
        torch.manual_seed(SEED)
        return removing(ROADMostRelevantFirst, STEPS - 1)

    probability = "mean probability of the class"
    yield Pair(
        "deletion", "Quantus PixelFlipping", ours, partial(flipping, area=False), probability
    )
    yield Pair(
        "deletion", "pytorch-grad-cam RemoveMostRelevantFirst", ours, partial(removing, grey),
        probability,
    )  # fmt: skip
    yield Pair(
        "deletion", "pytorch-grad-cam ROADMostRelevantFirst", partial(ours, STEPS - 1), road,
        probability,
        differs="ROAD fills in what the neighbours say, with noise of 0.01; ours one grey",
    )  # fmt: skip
    yield Pair(
        "deletion, its area", "Quantus PixelFlipping(return_auc_per_sample=True)", our_area,
        partial(flipping, area=True), "mean area",
        differs="Quantus' leaves out the unchanged image and is in steps, ours in shares",
        timed=False,
    )  # fmt: skip
    yield Pair(
        "deletion, its area counted that way", "Quantus PixelFlipping(return_auc_per_sample=True)",
        lambda: torch.trapezoid(ours(), dx=1), partial(flipping, area=True), "mean area",
        timed=False,
    )  # fmt: skip
