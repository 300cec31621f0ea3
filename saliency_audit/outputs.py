"""What a row of logits says: one of the classes, or for each output whether it is there."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F


class Outputs(ABC):
    """How probabilities and predictions are read off logits ``(n, classes)``.

    A prediction is a tensor with one row for each image; what it is made of is the business of
    the class.

    Attributes:
        name: in ``OUTPUTS``.
        exclusive: the classes exclude each other: there is one right class, and adding the same
            to all logits changes nothing.
        last: the function that makes probabilities of logits, by name.
    """

    name: ClassVar[str]
    exclusive: ClassVar[bool]
    last: ClassVar[str]

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class, ``(n, classes)``, in the type of the logits."""

    @abstractmethod
    def are_probabilities(self, rows: Tensor, *, loose: float) -> bool:
        """Whether outputs can only be probabilities already, as far as these rows tell.

        Args:
            rows: ``(n, classes)``.
            loose: what round-off may add up to.
        """

    @abstractmethod
    def prediction(self, logits: Tensor) -> Tensor:
        """What the model says of each image, ``(n, ...)``."""

    @abstractmethod
    def changed(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """Whether the model says something else than a prediction, ``(n,)`` bool."""

    @abstractmethod
    def loss(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """Cross-entropy of a prediction, ``(n,)``, in nats."""

    @abstractmethod
    def lead(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """How far, in logits, the model is from the prediction, ``(n,)``; above 0 if it changed."""


class Softmax(Outputs):
    """Classes that exclude each other. A prediction is the class of the largest logit, ``(n,)``."""

    name, exclusive, last = "softmax", True, "softmax"

    def probabilities(self, logits: Tensor) -> Tensor:
        """The softmax."""
        return logits.softmax(1)

    def are_probabilities(self, rows: Tensor, *, loose: float) -> bool:
        """Whether every row adds up to 1."""
        sums = rows.double().sum(1)
        return bool((rows >= 0).all()) and bool(((sums - 1).abs() <= loose).all())

    def prediction(self, logits: Tensor) -> Tensor:
        """The class of the largest logit, ``(n,)``."""
        return logits.argmax(1)

    def changed(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """Whether it is another class."""
        return logits.argmax(1) != prediction

    def loss(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """Minus the class's log-probability."""
        return F.cross_entropy(logits, prediction, reduction="none")

    def lead(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """Of the strongest other class."""
        own = prediction.unsqueeze(1)
        # Not 0 for the true class (P3's code): all other logits may be below 0.
        others = logits.scatter(1, own, -torch.inf).amax(1)
        return others - logits.gather(1, own).squeeze(1)


class MultiLabel(Outputs):
    """Outputs with a sigmoid each. A prediction is the set of those above one half.

    It is ``(n, classes)`` bool: where the logit is above 0.

    >>> logits = torch.tensor([[2.0, -1.0, 0.5]])
    >>> MULTI_LABEL.prediction(logits).tolist(), MULTI_LABEL.prediction(-logits).tolist()
    ([[True, False, True]], [[False, True, False]])
    >>> MULTI_LABEL.lead(logits, MULTI_LABEL.prediction(logits))
    tensor([-0.5000])
    """

    name, exclusive, last = "multi-label", False, "sigmoid"

    def probabilities(self, logits: Tensor) -> Tensor:
        """The sigmoid of each."""
        return logits.sigmoid()

    def are_probabilities(self, rows: Tensor, *, loose: float) -> bool:
        """Whether every number lies between 0 and 1."""
        del loose  # a sigmoid never leaves [0, 1], however it is rounded
        return bool(((rows >= 0) & (rows <= 1)).all())

    def prediction(self, logits: Tensor) -> Tensor:
        """The outputs above one half, ``(n, classes)`` bool."""
        return logits > 0

    def changed(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """Whether it is another set."""
        return ((logits > 0) != prediction).any(1)

    def loss(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """The binary cross-entropies of all outputs added up."""
        wanted = prediction.to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1)

    def lead(self, logits: Tensor, prediction: Tensor) -> Tensor:
        """Of the output that is nearest to changing sides, or furthest on the other."""
        return torch.where(prediction, -logits, logits).amax(1)


SOFTMAX, MULTI_LABEL = Softmax(), MultiLabel()
OUTPUTS: Mapping[str, Outputs] = {one.name: one for one in (SOFTMAX, MULTI_LABEL)}
"""By the name that is asked for."""
