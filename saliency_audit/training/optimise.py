"""How weights move: the optimizer, and the learning rate of each step."""

from collections.abc import Callable, Iterable, Sequence
from math import cos, isfinite, pi

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from saliency_audit.errors import InputError, lookup


def optimizer(
    parameters: Iterable[nn.Parameter],
    *,
    name: str,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """One of torch's optimizers.

    Args:
        parameters: what it moves.
        name: "sgd", "adam" (weight decay is added to the gradient) or "adamw" (weights shrink
            apart from it).
        lr: learning rate, > 0.
        momentum: of sgd, in [0, 1); the others have betas.
        weight_decay: of all parameters, >= 0.
        betas: of adam and adamw, each in [0, 1).

    Raises:
        InputError: an unknown name, or a number that means nothing.
    """
    lookup("optimizer", dict.fromkeys(("sgd", "adam", "adamw")), name)
    if not (lr > 0 and isfinite(lr)):
        raise InputError(f"--lr is {lr:g}; give a number above 0")
    if not (weight_decay >= 0 and isfinite(weight_decay)):
        raise InputError(f"--weight-decay is {weight_decay:g}; give 0 or more")
    if name == "sgd":
        if not 0 <= momentum < 1:
            raise InputError(f"--momentum is {momentum:g}; give at least 0 and less than 1")
        return SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
    if not all(0 <= beta < 1 for beta in betas):
        raise InputError(f"betas are {betas}; give at least 0 and less than 1")
    kind = Adam if name == "adam" else AdamW
    return kind(parameters, lr=lr, betas=betas, weight_decay=weight_decay)


def schedule(
    optimizer: Optimizer,
    *,
    name: str,
    steps: int,
    milestones: Sequence[float] = (0.5, 0.75),
    gamma: float = 0.1,
) -> LambdaLR:
    r"""The learning rate of each step; ``.step()`` after each step of the optimizer.

    Step k, from 0, has the first rate times 1 ("constant"),
    :math:`\frac12 (1 + \cos \frac{\pi k}{K})` ("cosine"), or :math:`\gamma^m` with m milestones
    at or before k ("step"). It depends on k alone, so a resumed training has the same rates.

    Args:
        optimizer: whose rates are set.
        name: "constant", "cosine" or "step".
        steps: K, of the whole training, >= 1; what follows has the rate of its end.
        milestones: of "step", as fractions of all steps.
        gamma: of "step".

    Returns:
        The schedule, at step 0. Source: "step" as in P0's code (x0.1 at epochs 100 and 150 of 200).

    Raises:
        InputError: an unknown name, or no steps.
    """
    if steps < 1:
        raise InputError(f"there are {steps} steps to train; give --epochs 1 or more")

    def constant(step: int) -> float:
        return 1.0

    def cosine(step: int) -> float:
        return (1 + cos(pi * min(step / steps, 1.0))) / 2

    passed = [round(milestone * steps) for milestone in milestones]

    def falling(step: int) -> float:
        return float(gamma ** sum(step >= milestone for milestone in passed))

    rates: dict[str, Callable[[int], float]] = {
        "constant": constant,
        "cosine": cosine,
        "step": falling,
    }
    return LambdaLR(optimizer, lookup("schedule", rates, name))
