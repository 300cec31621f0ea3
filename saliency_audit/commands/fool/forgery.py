"""A manipulated model: made by a trick, saved, and loaded back from disk to be measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import exp, tanh
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saliency_audit.errors import AuditError, UnsupportedError, lookup
from saliency_audit.models import (
    LIKELIHOOD_SCALARS,
    Classifier,
    activation_metadata,
    halve_on_oom,
    reload,
    save,
    save_state_dict,
)
from saliency_audit.tricks import TRICKS
from saliency_audit.tricks.loss_sine import gradient_bound
from saliency_audit.writing import replace_file

ANCHORS = 512
"""Most images ``--shift cancel`` stores in the model."""


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
    """

    setting: str
    saved: Classifier
    modules: Classifier
    path: Path
    gradient_bound: float | None


MODEL_FILES = (
    *(f"{stem}{suffix}" for stem in ("logit-shift", "loss-sine") for suffix in (".pt2", ".pt")),
    *(f"logit-shift-head{suffix}" for suffix in (".pt2", ".pt", ".safetensors")),
)
"""Names that `forge` gives to files."""


def _variant(trick: str, options: Mapping[str, Any]) -> tuple[str, str, dict[str, float]]:
    """File stem, setting, and what a trick with its options promises."""
    if trick == "logit-shift":
        shift = options.get("shift", "linear")
        stem = "logit-shift-head" if shift == "head" else "logit-shift"
        promised = {"prediction-kept": 1.0, "prob-change": 1e-5, "loss-change": 1e-4}
        return stem, f"trick=logit-shift;shift={shift}", promised
    form, eps = options.get("form", "per-class"), options.get("eps", 1e-3)
    theory = {
        "per-class": (tanh(eps / 2), 2 * eps),
        "dummy-class": (1 - exp(-2 * eps), 2 * eps),
        "wrapper": (0.0, eps),
    }
    # 1e-6: the round-off of fp32 logits, on top of the theory.
    prob, loss = theory[form]
    promised = {
        "prediction-kept": 1.0,
        "prob-change": prob + 1e-6,
        "loss-change": loss + 1e-5,
        "gradient-bound-share": 1 + 1e-3,
    }
    return "loss-sine", f"trick=loss-sine;form={form};eps={eps:g}", promised


def bounds(tricks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """What each trick promises: by setting and check, the largest value of any image."""
    variants = [_variant(name, options) for name, options in tricks.items()]
    return {setting: limits for _, setting, limits in variants}


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
) -> Forgery:
    """Make, save and reload one manipulated model.

    Args:
        model: the classifier as it is.
        trick: a name in ``TRICKS``.
        picture: ``(h, w)`` in [0, 1].
        images: ``(n, c, h, w)`` the trick is set by.
        targets: their predicted classes.
        folder: where the model is saved: ``TRICK.pt2``, ``.pt`` for TorchScript,
            ``logit-shift-head.safetensors`` for a state dict.
        strength: norm of the picture's part over the median norm of the true gradient.
        batch_size: most images the model sees at once.
        options: of the trick.

    Returns:
        The forgery.

    Raises:
        UnsupportedError: the trick cannot be done on, or saved from, this model.
        AuditError: the saved model does not give the logits of the one that was saved.
    """
    options = dict(options or {})
    if options.get("shift") == "cancel" and len(images) > ANCHORS:
        raise UnsupportedError(
            f"--shift cancel stores every audited image in the model and takes {ANCHORS} at most, "
            f"not {len(images)}; set --max-samples {ANCHORS}"
        )
    stem, setting, _ = _variant(trick, options)
    make = partial(
        lookup("trick", TRICKS, trick).function,
        model,
        picture,
        images,
        targets,
        strength=strength,
        **options,
    )
    network = halve_on_oom(
        lambda size: make(batch_size=size), batch_size or len(images), tell=lambda line: None
    )
    path = _save(network, folder / stem, model)
    scalars = LIKELIHOOD_SCALARS if options.get("form") == "wrapper" else model.scalars
    saved = reload(path, model, scalars=scalars).requires_grad_(False).eval()
    modules = model.replaced(network, scalars=scalars).requires_grad_(False).eval()
    with torch.no_grad():
        logits = modules(images[:1])
        difference = float((saved(images[:1]) - logits).abs().max())
    if not difference <= 1e-3 * max(1.0, float(logits.abs().max())):
        raise AuditError(f"{path.name} gives logits {difference:.1e} from those it was saved with")
    return Forgery(setting, saved, modules, path, gradient_bound(network, model.std))


def _save(network: nn.Module, stem: Path, model: Classifier) -> Path:
    stem.parent.mkdir(parents=True, exist_ok=True)
    if stem.name == "logit-shift-head" and model.format == "module":
        path = stem.with_name(stem.name + ".safetensors")
        save_state_dict(network, path, metadata=activation_metadata(model.activation))
        return path
    path = stem.with_name(stem.name + (".pt" if model.format == "torchscript" else ".pt2"))
    save(
        network,
        path,
        format=model.format,
        input_shape=model.input_shape,
        activation=model.activation,
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
