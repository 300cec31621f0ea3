"""The best image of a search: after rounding, with the prediction as it should be."""

from collections.abc import Callable

import torch
from torch import Tensor

from saliency_audit.models import Classifier


class Kept:
    """Keeps, of the images it is offered, the best of each.

    Args:
        model: the network whose predictions count: the original one.
        clean: ``(n, c, h, w)``; what stays where nothing better is offered.
        measure: of candidates and their logits, ``(n,)``, lower is better.
        value: of the clean images, ``(n,)``; candidates must be below it.
        changed: whether the prediction must change instead of stay.

    Attributes:
        images: the best so far, ``(n, c, h, w)``.
        value: theirs.
        found: whether one was better than the clean image, ``(n,)`` bool.
        prediction: of the clean images, as ``model.outputs`` has it.
    """

    def __init__(
        self,
        model: Classifier,
        clean: Tensor,
        measure: Callable[[Tensor, Tensor], Tensor],
        *,
        value: Tensor,
        changed: bool = False,
    ) -> None:
        self.images = clean.clone()
        self.value = value.clone()
        self.found = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
        self._model = model
        self._measure = measure
        self._changed = changed
        self.prediction = model.outputs.prediction(self._logits(clean))

    def offer(self, candidates: Tensor) -> None:
        """Keep those that are better, as they are.

        Args:
            candidates: ``(n, c, h, w)``, rounded and within the budget.
        """
        logits = self._logits(candidates)
        allowed = self._model.outputs.changed(logits, self.prediction) == self._changed
        allowed &= logits.isfinite().all(1)
        value = self._measure(candidates, logits)
        # NaN compares false: a candidate without a value is never better.
        better = allowed & (value < self.value)
        self.images[better] = candidates[better]
        self.value[better] = value[better]
        self.found |= better

    def _logits(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = self._model(images)
        return logits
