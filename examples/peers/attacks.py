"""Projected gradient descent beside foolbox and the Adversarial Robustness Toolbox."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import foolbox
import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from pair import SEED, Pair, Subject
from torch import Tensor, nn

from saliency_audit.ascent import ascend, attack_loss
from saliency_audit.attacks import ATTACKS
from saliency_audit.budget import Norm, direction, project

EPS: dict[Norm, float] = {"linf": 4 / 255, "l2": 0.3}
FOOLBOX: dict[Norm, str] = {"linf": "LinfPGD", "l2": "L2PGD"}
STEPS = 20


def attack_pairs(given: Subject) -> Iterator[Pair]:
    """Projected gradient descent from the image itself, away from the label."""
    right = partial(_mean_right, given)
    accuracy = "robust accuracy"
    norms: tuple[Norm, ...] = ("linf", "l2")
    for norm in norms:
        ours = partial(our_attack, given, norm)
        yield Pair(
            f"pgd, {norm}", f"foolbox {FOOLBOX[norm]}",
            ours, partial(foolbox_attack, given, norm), accuracy, right,
        )  # fmt: skip
        differs = "ART cuts to [0, 1] before it projects to the ball, ours after"
        yield Pair(
            f"pgd, {norm}", "ART ProjectedGradientDescentPyTorch",
            ours, partial(art_attack, given, norm), accuracy, right,
            differs=differs if norm == "l2" else "",
        )  # fmt: skip
    yield Pair(
        "pgd, l2, cut before it projects", "ART ProjectedGradientDescentPyTorch",
        partial(cut_first, given), partial(art_attack, given, "l2"), accuracy, right,
        differs="only round-off, which grows (next line)",
        timed=False,
    )  # fmt: skip
    moved = replace(given, images=one_bit_away(given.images))
    yield Pair(
        "pgd, l2", "itself from images one bit of round-off away",
        partial(our_attack, given, "l2"), partial(our_attack, moved, "l2"), accuracy, right,
        differs="how far round-off grows in 20 steps",
        timed=False,
    )  # fmt: skip
    yield Pair(
        "robust-accuracy's attack", f"foolbox {FOOLBOX['linf']}",
        lambda: given.right(whole_levels(given)),
        lambda: given.right(foolbox_attack(given, "linf")),
        accuracy,
        differs="ours looks at every step, in whole 8-bit values; foolbox at the last, as it is",
    )  # fmt: skip


def our_attack(given: Subject, norm: Norm) -> Tensor:
    """The search that ``finetune --objective pgd`` trains on; its last images."""
    return ascend(
        given.model,
        given.images,
        given.labels,
        eps=EPS[norm],
        steps=STEPS,
        step_size=step_size(norm),
        norm=norm,
    )


def whole_levels(given: Subject) -> Tensor:
    """The attack of `robust-accuracy`, from the image itself."""
    return ATTACKS["pgd"].function(
        given.model,
        None,
        None,
        given.images,
        None,
        eps=EPS["linf"],
        steps=STEPS,
        step_size=step_size("linf"),
        generators=[],
        from_random=False,
    )


def step_size(norm: Norm) -> float:
    """Ours where none is given: two and a half times the way to the border, in all steps."""
    return 2.5 * EPS[norm] / STEPS


def one_bit_away(images: Tensor) -> Tensor:
    """Images with noise of the size of single precision's round-off, in [0, 1]."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(SEED))
    return (images + 2**-24 * noise).clamp(0, 1)


def cut_first(given: Subject) -> Tensor:
    """PGD in the L2 ball that cuts to [0, 1] before it projects to the ball."""
    images = given.images
    for _ in range(STEPS):
        pixels = images.clone().requires_grad_()
        loss = attack_loss(given.model(pixels), given.labels).sum()
        (gradient,) = torch.autograd.grad(loss, pixels)
        images = images + step_size("l2") * direction(gradient, "normalised")
        images = project(images.clamp(0, 1), given.images, eps=EPS["l2"], norm="l2")
    return images


def foolbox_attack(given: Subject, norm: Norm) -> Tensor:
    """The same by foolbox; it looks once more at what it found."""
    model = foolbox.PyTorchModel(given.model.network, bounds=(0, 1), device="cpu")
    attack = getattr(foolbox.attacks, FOOLBOX[norm])(
        abs_stepsize=step_size(norm), steps=STEPS, random_start=False
    )
    _, images, _ = attack(model, given.images, given.labels, epsilons=EPS[norm])
    found: Tensor = images
    return found


def art_attack(given: Subject, norm: Norm) -> Tensor:
    """The same by the Adversarial Robustness Toolbox; it looks twice more."""
    model = PyTorchClassifier(
        given.model.network,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(given.images.shape[1:]),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        model,
        norm=np.inf if norm == "linf" else 2,
        eps=EPS[norm],
        eps_step=step_size(norm),
        max_iter=STEPS,
        num_random_init=0,
        batch_size=len(given.images),
        verbose=False,
    )
    return torch.from_numpy(attack.generate(given.images.numpy(), given.labels.numpy()))


def _mean_right(given: Subject, attacked: Tensor) -> float:
    return given.right(attacked).mean().item()
