"""What `attack` measures on one set of images: the images themselves, then each map."""

from collections.abc import Mapping

import torch
from torch import Tensor

from saliency_audit.commands.explain import predict
from saliency_audit.commands.rows import Subject
from saliency_audit.maps import magnitude
from saliency_audit.metrics import CHECKS
from saliency_audit.metrics.retrieval import retrieval, revealed
from saliency_audit.models import Classifier
from saliency_audit.types import Row

Values = dict[str, Tensor]
"""By check, ``(n,)`` float64."""

MODEL_SPACE = ";space=model"


def image_values(
    model: Classifier, images: Tensor, clean: Tensor, logits: Tensor, clean_logits: Tensor
) -> Values:
    """What changed between two sets of images; distances in pixels and in the network's units."""
    values = {
        name: CHECKS[name].function(logits, clean_logits, outputs=model.outputs)
        for name in ("prediction-kept", "confidence-change")
    }
    values |= {
        name: CHECKS[name].function(images, clean) for name in ("l2-distance", "linf-distance")
    }
    values["l2-distance" + MODEL_SPACE] = CHECKS["l2-distance"].function(
        images / model.std, clean / model.std
    )
    return values


def map_values(after: Tensor, before: Tensor, *, k: int, seed: int) -> Values:
    """How alike two maps of each image are.

    Args:
        after: ``(n, c, h, w)`` or ``(n, 1, h, w)``, signed.
        before: likewise.
        k: most salient pixels.
        seed: of the order of tied pixels.
    """
    shown, shown_before = magnitude(after), magnitude(before)
    values = {
        "topk-intersection": CHECKS["topk-intersection"].function(
            shown, shown_before, k=k, seed=seed
        ),
        "spearman": CHECKS["spearman"].function(after.mean(1), before.mean(1)),
        "cosine": CHECKS["cosine"].function(after, before),
    }
    for name in ("spearman-abs", "pearson", "ssim", "mse", "mass-center-shift"):
        values[name] = CHECKS[name].function(shown, shown_before)
    return values


def target_values(saliency: Tensor, wanted: Tensor, *, region: bool) -> Values:
    """How near a map is to what an attack wants.

    Args:
        saliency: ``(n, c, h, w)`` or ``(n, 1, h, w)``.
        wanted: a map or a region, ``(n, h, w)``.
        region: which of them.
    """
    shown = magnitude(saliency)
    names = ("pearson-to-target", "mass-in-target" if region else "mse-to-target")
    return {name: CHECKS[name].function(shown, wanted) for name in names}


class Retrieval:
    """Does the prediction survive when an image is shown through a map? The clean pair is kept.

    Args:
        model: the classifier.
        clean: images.
        logits: theirs.
        batch_size: most images the model sees at once.
    """

    def __init__(self, model: Classifier, clean: Tensor, logits: Tensor, batch_size: int) -> None:
        self._model = model
        self._clean = clean
        self._logits = logits
        self._batch_size = batch_size
        self._known: dict[tuple[str, str], Tensor] = {}

    def __call__(
        self, images: Tensor, after: Tensor, before: Tensor, *, pair: tuple[str, str]
    ) -> Values:
        """All four combinations of clean and attacked image and map.

        Args:
            images: the attacked ones.
            after: their maps.
            before: maps of the clean images.
            pair: method and scalar of the maps.
        """
        if pair not in self._known:
            self._known[pair] = self._rate(self._clean, before)
        return {
            "retrieval-clean-clean": self._known[pair],
            "retrieval-clean-attacked": self._rate(self._clean, after),
            "retrieval-attacked-clean": self._rate(images, before),
            "retrieval-attacked-attacked": self._rate(images, after),
        }

    def _rate(self, images: Tensor, saliency: Tensor) -> Tensor:
        fill = self._model.mean.to(images.dtype)
        shown = revealed(images, magnitude(saliency), fill)
        logits = predict(self._model, shown, batch_size=self._batch_size)
        return retrieval(logits, self._logits, outputs=self._model.outputs)


def rows_of(
    subject: Subject,
    values: Mapping[str, Tensor],
    *,
    setting: str,
    saliency: str = "",
    scalar: str = "",
) -> list[Row]:
    """One row per check and image; what is measured in the network's units says so."""
    missing = subject.targets < 0
    rows: list[Row] = []
    for name, numbers in values.items():
        check, _, suffix = name.partition(";")
        rows += subject.rows(
            check,
            numbers.masked_fill(missing, torch.nan) if saliency else numbers,
            setting=f"{setting};{suffix}" if suffix else setting,
            saliency=saliency,
            scalar=scalar,
        )
    return rows


def averaged(draws: list[Values]) -> Values:
    """Mean over the defined draws of the control, image by image."""
    return {
        name: torch.stack([draw[name].double() for draw in draws]).nanmean(0) for name in draws[0]
    }


def worst(draws: list[Values], *, by: str = "topk-intersection") -> Values:
    """Of each image the draw whose map is least like the clean one."""
    similarity = torch.stack([draw[by] for draw in draws])
    chosen = similarity.nan_to_num(torch.inf).argmin(0, keepdim=True)
    return {
        name: torch.stack([draw[name].double() for draw in draws]).gather(0, chosen)[0]
        for name in draws[0]
    }
