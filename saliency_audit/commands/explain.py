"""Maps and logits by name, batched, with the seeds and options of the run."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import SaliencyMethod, function_of
from saliency_audit.commands.reason import refusing
from saliency_audit.errors import UnsupportedError
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier, halve_on_oom
from saliency_audit.seeding import generators

OPPOSITE = {"loss": "log-prob", "log-prob": "loss"}
"""Scalars of which one is minus the other."""
FEW = {"samples": 2, "steps": 2, "copies": 2, "iterations": 2, "proximal_steps": 2}
"""Points of a map that is only looked at for whether it is there."""


def predict(model: Classifier, images: Tensor, *, batch_size: int) -> Tensor:
    """Logits ``(n, classes)`` without a graph; in smaller parts when memory runs out."""

    def compute(size: int) -> Tensor:
        return torch.cat([model.scores(part) for part in torch.split(images, size)])

    return halve_on_oom(compute, batch_size, tell=lambda line: None)


def explain(
    name: str,
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    names: Sequence[str],
    scalar: str,
    seed: int,
    batch_size: int | None,
    options: Mapping[str, Any],
    methods: Mapping[str, SaliencyMethod] = METHODS,
    refused: dict[str, str] | None = None,
) -> Tensor:
    """A map by its method's name, with those of ``options`` that the method has.

    Args:
        name: in ``methods``.
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes.
        names: of the images; together with ``seed`` they fix the random draws.
        scalar: in ``SCALARS``; a control takes any.
        seed: of the run.
        batch_size: most images the model sees at once.
        options: of all methods.
        methods: by name; one with a parameter ``names`` is given those of the images.
        refused: takes why the method refuses single images, by name.

    Returns:
        ``(n, c, h, w)`` or ``(n, 1, h, w)``, detached; NaN for images that the method refuses.

    Raises:
        UnsupportedError: the method refuses every image, or fails on it.
    """
    function = methods[name].function
    known = signature(function).parameters

    def compute(part: Tensor, classes: Tensor, asked: Sequence[str]) -> Tensor:
        given = {"names": asked} if "names" in known else {}
        with refusing():
            result: Tensor = explain_part(
                part, classes, generators=generators(seed, asked, name, images.device), **given
            )
        return result.detach()

    explain_part = partial(
        function,
        model,
        scalar=scalar or "logit",
        batch_size=batch_size,
        **{key: value for key, value in options.items() if key in known},
    )
    try:
        return compute(images, targets, names)
    except UnsupportedError as error:
        if len(images) == 1:
            raise
        refusal = error
    # One image may be to blame: the others have a right to their map.
    parts: list[Tensor | None] = []
    for i in range(len(images)):
        one = slice(i, i + 1)
        try:
            parts.append(compute(images[one], targets[one], names[one]))
        except UnsupportedError as error:
            parts.append(None)
            if refused is not None:
                refused[names[i]] = f"failed: {error}"
    made = next((part for part in parts if part is not None), None)
    if made is None:
        raise refusal
    blank = torch.full_like(made, torch.nan)
    return torch.cat([blank if part is None else part for part in parts])


def supported(
    names: Sequence[str],
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str,
    options: Mapping[str, Any],
    refuse: bool,
    tell: Callable[[str], None],
    option: str = "--saliency",
    methods: Mapping[str, SaliencyMethod] = METHODS,
) -> list[str]:
    """The methods that work on this model, tried on one image with as few passes as they allow.

    Raises:
        UnsupportedError: one does not work and ``refuse`` is set; else it is told and left out.
    """
    kept = []
    for name in names:
        try:
            explain(
                name,
                model,
                images,
                targets,
                names=["probe"],
                scalar=scalar,
                seed=0,
                batch_size=1,
                options={**options, **FEW},
                methods=methods,
            )
            kept.append(name)
        except UnsupportedError as error:
            if refuse:
                raise UnsupportedError(f"{option} {name}: {error}") from error
            tell(f"{name} left out: {error}")
    return kept


def tell_zero(
    name: str,
    maps: Tensor,
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    names: Sequence[str],
    scalar: str,
    tell: Callable[[str], None],
    methods: Mapping[str, SaliencyMethod] = METHODS,
) -> None:
    """Tell why the first map that is zero everywhere is so, where the method knows.

    Args:
        name: in ``methods``.
        maps: its maps of the images, batch first.
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes.
        names: of the images.
        scalar: in ``SCALARS``.
        tell: takes the line.
        methods: by name.
    """
    zero = maps.eq(0).flatten(1).all(1).nonzero().flatten().tolist()
    code = methods[name].why_zero
    if not zero or code is None:
        return
    one = slice(zero[0], zero[0] + 1)
    if why := function_of(code)(model, images[one], targets[one], scalar=scalar):
        tell(
            f"{name} is zero everywhere on {names[zero[0]]} ({len(zero)} of the first "
            f"{len(maps)} images): {why}"
        )


class Maps:
    """Maps of one batch by model, method and scalar; what can be had by a sign is not computed.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        names: of the images.
        seed: of the run.
        batch_size: most images the model sees at once.
        options: of all methods.
        tell: called with a line when the batch had to be made smaller.
        methods: by name.

    Attributes:
        batch_size: as given, or what was found to fit into memory.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        *,
        names: Sequence[str],
        seed: int,
        batch_size: int,
        options: Mapping[str, Any],
        tell: Callable[[str], None],
        methods: Mapping[str, SaliencyMethod] = METHODS,
    ) -> None:
        self.batch_size = batch_size
        self._methods = methods
        self._tell = tell
        self._explain = partial(
            explain,
            images=images,
            targets=targets,
            names=names,
            seed=seed,
            options=options,
            methods=methods,
        )
        self._name = ""
        self._known: dict[tuple[Classifier, str], Tensor] = {}
        self._refused: dict[tuple[Classifier, str], dict[str, str]] = {}

    def __call__(self, model: Classifier, name: str, scalar: str) -> Tensor:
        """The map ``(n, c, h, w)`` or ``(n, 1, h, w)``."""
        if name != self._name:
            self._name = name
            self._known.clear()
            self._refused.clear()
        if (model, scalar) in self._known:
            return self._known[model, scalar]
        parity = self._methods[name].parity
        opposite = self._known.get((model, OPPOSITE.get(scalar, "")))
        if parity and opposite is not None:
            self._refused[model, scalar] = self._refused[model, OPPOSITE[scalar]]
            return parity * opposite
        refused = self._refused[model, scalar] = {}

        def compute(batch_size: int) -> Tensor:
            self.batch_size = batch_size
            refused.clear()
            return self._explain(name, model, scalar=scalar, batch_size=batch_size, refused=refused)

        result = halve_on_oom(compute, self.batch_size, tell=self._tell)
        self._known[model, scalar] = result
        return result

    def refused(self, model: Classifier, scalar: str) -> Mapping[str, str]:
        """Why the method that was asked last refused single images, by name of the image."""
        return self._refused.get((model, scalar), {})
