"""What a metric of ``evaluate`` is shown, and what it answers."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators

Value = TypeVar("Value")


@dataclass(frozen=True)
class View:
    """One batch of images, seen by one model, with one method's maps of them.

    Attributes:
        model: in eval mode, weights frozen.
        images: ``(n, c, h, w)`` in [0, 1].
        names: of the images; random draws go by them.
        labels: ``(n,)``, -1 where there is none.
        targets: explained classes, ``(n,)``.
        logits: of the images, ``(n, classes)``.
        method: name of the saliency method; empty for metrics of the model.
        saliency: its maps, ``(n, c, h, w)`` or ``(n, 1, h, w)``, signed; NaN where it refused.
        explain: ``(model, images, targets, *, names, method=..., scalar=..., seed=...) -> maps``,
            with the options of the run; by default this method under the run's scalar and seed.
            ``names`` are those of the images (they fix the noise), so repeat them with the images.
        scalar: explained scalar of the run.
        control: whether the method sees no model.
        batch_size: most images the model may see at once.
        seed: of the run.
        dataset_mean: mean colour of all images, ``(c,)``; None unless a fill asks for it.
        beside: what this metric needs beside them, by name in ``NEEDS``: "other", a second model;
            "judge", the model whose accuracy is measured; "annotations", ``(n, h, w)``, >= 0, what
            people looked at or marked, NaN where there is none; "train", ``(model, *, seed,
            **options) -> copy`` that goes by a trigger, see `known_answer`; "manifold", a
            `Manifold`.
        attack: ``(model, images, *, names, eps, attack="pgd", **options) -> images`` on the 8-bit
            grid: PGD on the predicted class, or "random" noise of that size.
        draw: whether pictures of the first image are wanted.
        known: what metrics of the same model and batch have in common, such as the scores of
            wholly covered images; see `shared`.
        shared_by_method: likewise of the same model, batch and method.
    """

    model: Classifier
    images: Tensor
    names: Sequence[str]
    labels: Tensor
    targets: Tensor
    logits: Tensor
    method: str
    saliency: Tensor
    explain: Callable[..., Tensor]
    batch_size: int
    seed: int
    scalar: str = "logit"
    control: bool = False
    dataset_mean: Tensor | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    attack: Callable[..., Tensor] | None = None
    draw: bool = False
    known: dict[Hashable, Any] = field(default_factory=dict)
    shared_by_method: dict[Hashable, Any] = field(default_factory=dict)

    def needed(self, name: str) -> Any:
        """What this metric cannot do without.

        Raises:
            InputError: it is not there.
        """
        if self.beside.get(name) is None:
            raise InputError(f"this metric needs {name}; give --{name}")
        return self.beside[name]

    def generators(self, purpose: str) -> list[torch.Generator]:
        """One generator per image, on the device of the images."""
        return generators(self.seed, self.names, purpose, self.images.device)


def shared(store: dict[Hashable, Any], key: Hashable, compute: Callable[[], Value]) -> Value:
    """``compute()``, once for each key.

    >>> store = {}
    >>> shared(store, "two", lambda: 2), shared(store, "two", lambda: 3)
    (2, 2)
    """
    if key not in store:
        store[key] = compute()
    value: Value = store[key]
    return value


@dataclass(frozen=True)
class Measured:
    """Values of one check at one setting.

    Attributes:
        values: ``(n,)``; what is not finite is undefined.
        check: name; empty means that of the metric.
        setting: ``key=value`` pairs joined by ``;``: all options that decide the number.
        saliency: method the row is about; None means the view's.
        x: where the curve was measured; empty if there is none.
        curve: ``(n, len(x))``.
        pictures: of the first image, by what the picture shows, such as ``removed=0.25``:
            ``(c, h, w)`` images or ``(h, w)`` maps.
        roles: of its images and of its maps, as `types.Example` has them.
        rows: False for what is a curve only.
    """

    values: Tensor
    check: str = ""
    setting: str = ""
    saliency: str | None = None
    x: Sequence[float] = ()
    curve: Tensor | None = None
    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    roles: tuple[str, str] = ("perturbed", "randomised")
    rows: bool = True
