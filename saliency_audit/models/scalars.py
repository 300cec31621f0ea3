"""The explained scalar: the number, computed from the logits, whose map is drawn.

Computed in float64 and left there, whatever the type of the logits: round-off of a half-precision
network would otherwise be taken for a change. (On devices without float64, in their own type.)
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Scalar = Callable[[Tensor, Tensor], Tensor]


def _of_target(values: Tensor, targets: Tensor) -> Tensor:
    return values.gather(1, targets[:, None])[:, 0]


def _precisely(logits: Tensor) -> Tensor:
    # Where the model is sure, 1 - p is smaller than fp32 can tell from 0, and with it the gradient.
    return logits if logits.device.type == "mps" else logits.double()


def logit(logits: Tensor, targets: Tensor) -> Tensor:
    """f_y. Anyone may add the same function to all logits without changing a prediction."""
    return _of_target(_precisely(logits), targets)


def log_prob(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of y. Cannot be moved by a shift of all logits."""
    return _of_target(_precisely(logits).log_softmax(1), targets)


def prob(logits: Tensor, targets: Tensor) -> Tensor:
    """p_y. Its gradient p (1 - p) vanishes where the model is sure: 1e-13 at a logit gap of 30."""
    return _of_target(_precisely(logits).softmax(1), targets)


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy -log p_y (P0 eq. 6 gives its gradient)."""
    return -log_prob(logits, targets)


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """f_y minus the largest other logit."""
    precise = _precisely(logits)
    others = precise.scatter(1, targets[:, None], -torch.inf)
    return _of_target(precise, targets) - others.amax(1)


def centred_logit(logits: Tensor, targets: Tensor) -> Tensor:
    """f_y minus the mean logit: the representative of f that no shift can move (P0 section 2)."""
    precise = _precisely(logits)
    return _of_target(precise, targets) - precise.mean(1)


SCALARS: dict[str, Scalar] = {
    "logit": logit,
    "log-prob": log_prob,
    "prob": prob,
    "loss": loss,
    "margin": margin,
    "centred-logit": centred_logit,
}


LIKELIHOOD_SCALARS: dict[str, Scalar] = {
    **SCALARS,
    "log-prob": logit,
    "prob": lambda outputs, targets: logit(outputs, targets).exp(),
    "loss": lambda outputs, targets: -logit(outputs, targets),
}
"""For a model whose outputs are log-likelihoods as they stand, which no softmax normalises."""


def _log_prob_of_one(logits: Tensor, targets: Tensor) -> Tensor:
    # Not the softmax: what is left of 1 - p beside a logit of 0 is 0 from z = 37 on.
    return F.logsigmoid(margin(logits, targets))


ONE_OUTPUT_SCALARS: dict[str, Scalar] = {
    **SCALARS,
    "logit": margin,
    "log-prob": _log_prob_of_one,
    "prob": lambda logits, targets: _log_prob_of_one(logits, targets).exp(),
    "loss": lambda logits, targets: -_log_prob_of_one(logits, targets),
}
"""For logits 0 and z of a network of one output: the logit is z, and -z for class 0, since a logit
of 0 is the same for every image and has no map."""


def _log_prob_of_each(logits: Tensor, targets: Tensor) -> Tensor:
    return F.logsigmoid(logit(logits, targets))


MULTI_LABEL_SCALARS: dict[str, Scalar] = {
    "logit": logit,
    "log-prob": _log_prob_of_each,
    "prob": lambda logits, targets: logit(logits, targets).sigmoid(),
    "loss": lambda logits, targets: -_log_prob_of_each(logits, targets),
}
"""For outputs with a sigmoid each, of which the target is explained alone: its logit, the (log-)
probability that it is there, and the binary cross-entropy of that. Margin and centred logit compare
classes that exclude each other, which these do not."""
