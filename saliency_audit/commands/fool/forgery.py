"""A manipulated model: made by a trick, saved, and loaded back from disk to be measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saliency_audit.catalogue.entries import Variant, function_of
from saliency_audit.commands.fool.lesson import Right, School, fitted, right
from saliency_audit.errors import AuditError, UnsupportedError, lookup
from saliency_audit.models import (
    LIKELIHOOD_SCALARS,
    Classifier,
    activation_metadata,
    halve_on_oom,
    moved_layer,
    reload,
    save,
    save_state_dict,
)
from saliency_audit.tricks import TRICKS
from saliency_audit.tricks.lesson import Change
from saliency_audit.writing import replace_file


@dataclass(frozen=True)
class Forgery:
    """A manipulated model and what its trick promises.

    Attributes:
        setting: the trick and its options, as ``results.csv`` writes them.
        saved: the model as it was loaded back from disk.
        modules: the same with its Python modules, for methods that hook into them; its logits
            were checked against ``saved``.
        path: the file.
        gradient_bound: most that the L1 norm of the loss gradient can change (P0 App. B.1); None
            for tricks that promise nothing about it.
        aim: what its maps shall show, a name in ``AIMS``.
        change: to the images that it is measured on; None leaves them as they are.
        held_out: of a trick that trains, which images held out are right before and after.
    """

    setting: str
    saved: Classifier
    modules: Classifier
    path: Path
    gradient_bound: float | None = None
    aim: str = "picture"
    change: Change | None = None
    held_out: tuple[Right, Right] | None = None


MODEL_FILES = (
    *(f"{name}{suffix}" for name in TRICKS for suffix in (".pt2", ".pt", ".safetensors")),
    *(
        f"{name}-{part}{suffix}"
        for name, trick in TRICKS.items()
        for part in (() if trick.trains else trick.edits)
        for suffix in (".pt2", ".pt", ".safetensors")
    ),
)
"""Names that `forge` gives to files."""


def variant_of(trick: str, options: Mapping[str, Any]) -> Variant:
    """What a trick with its options is called and what it promises.

    Raises:
        InputError: no trick has that name.
    """
    return lookup("trick", TRICKS, trick).with_options(options)


def bounds(tricks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """What each trick promises: by setting and check, the largest value of any image."""
    variants = [variant_of(name, options) for name, options in tricks.items()]
    return {setting: dict(variant.promises) for variant in variants for setting in variant.settings}


def forge(
    model: Classifier,
    trick: str,
    picture: Tensor,
    images: Tensor,
    targets: Tensor,
    *,
    folder: Path,
    strength: float = 10.0,
    batch_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    school: School | None = None,
    trained: Path | None = None,
) -> list[Forgery]:
    """Make, save and reload one manipulated model.

    Args:
        model: the classifier as it is.
        trick: a name in ``TRICKS``.
        picture: ``(h, w)`` in [0, 1].
        images: ``(n, c, h, w)`` the trick is set by.
        targets: their predicted classes.
        folder: where the model is saved: ``TRICK.pt2``, ``.pt`` for TorchScript,
            ``TRICK-PART.safetensors`` for a state dict.
        strength: norm of the picture's part over the median norm of the true gradient.
        batch_size: most images the model sees at once.
        options: of the trick.
        school: what a trick that trains is trained by.
        trained: weights that it was trained to before, which it takes instead of training.

    Returns:
        The forgery. For one that a patch sets off, three: without the patch, with it, and the given
        model with it.

    Raises:
        UnsupportedError: the trick cannot be done on, or saved from, this model.
        AuditError: the saved model does not give the logits of the one that was saved.
    """
    options = dict(options or {})
    entry, variant = lookup("trick", TRICKS, trick), variant_of(trick, options)
    if entry.trains:
        assert school is not None
        options["fit"] = (
            partial(fitted, model, school) if trained is None else partial(_again, model, trained)
        )
    make = partial(entry.function, model, picture, images, targets, strength=strength, **options)
    at_once = batch_size or len(images)
    network = (
        make(batch_size=at_once)
        if entry.trains
        else halve_on_oom(lambda size: make(batch_size=size), at_once, tell=lambda line: None)
    )
    path = _save(network, folder, trick, variant, model)
    scalars = LIKELIHOOD_SCALARS if variant.likelihoods else model.scalars
    saved = reload(path, model, scalars=scalars).requires_grad_(False).eval()
    modules = model.replaced(network, scalars=scalars).requires_grad_(False).eval()
    # An added layer lies around the network: its own layers have longer names.
    for forged in (saved, modules):
        forged.layer = moved_layer(model.layer, forged.network)
    with torch.no_grad():
        logits = modules(images[:1])
        difference = float((saved(images[:1]) - logits).abs().max())
    if not difference <= 1e-3 * max(1.0, float(logits.abs().max())):
        raise AuditError(f"{path.name} gives logits {difference:.1e} from those it was saved with")
    bound = entry.gradient_bound
    promised = None if bound is None else function_of(bound)(network, model.std)
    made = Forgery(variant.setting, saved, modules, path, promised, variant.aim)
    if school is None or not entry.trains:
        return [made]
    before = right(model, model, school)
    made = replace(made, held_out=(before, right(saved, model, school)))
    if variant.patch is None:
        return [made]
    change = variant.patch(model.input_shape)
    clean, patched, control = variant.settings
    return [
        replace(made, setting=clean),
        replace(
            made,
            setting=patched,
            change=change,
            held_out=(before, right(saved, model, school, change)),
        ),
        replace(
            made,
            setting=control,
            saved=model,
            modules=model,
            change=change,
            held_out=(before, right(model, model, school, change)),
        ),
    ]


def _again(model: Classifier, trained: Path, *_: Any, **how: Any) -> nn.Module:
    """What `fitted` gave an earlier run that was all the same."""
    return reload(trained, model).network.requires_grad_(False).eval()


def _save(
    network: nn.Module, folder: Path, trick: str, variant: Variant, model: Classifier
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{trick}-{variant.edits}" if variant.edits and not TRICKS[trick].trains else trick
    if variant.edits and model.format == "module":
        path = folder / f"{stem}.safetensors"
        save_state_dict(network, path, metadata=activation_metadata(model.activation))
        return path
    path = folder / f"{stem}{'.pt' if model.format == 'torchscript' else '.pt2'}"
    save(
        network,
        path,
        format=model.format,
        input_shape=model.input_shape,
        activation=model.activation,
        dtype=model.dtype,
    )
    return path


def with_fallback(forgery: Forgery, compute: Callable[[Classifier], Tensor]) -> Tensor:
    """Run ``compute`` on the saved model, or on its modules where the saved form has none."""
    try:
        return compute(forgery.saved)
    except UnsupportedError:
        if forgery.modules.format == forgery.saved.format:
            raise
        return compute(forgery.modules)


def copy_whole(path: Path, folder: Path) -> None:
    """Copy a file into a folder, whole or not at all.

    Raises:
        AuditError: the disk is full, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            replace_file(folder / path.name, iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        size = path.stat().st_size / 1e6
        raise AuditError(
            f"cannot write {folder / path.name}, {size:.1f} MB ({error.strerror or error}); "
            "free space, or name another folder with --output-dir"
        ) from error
