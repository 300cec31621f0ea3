"""Maps made elsewhere as a saliency method: out of files."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.data import ImageData, saved_maps
from saliency_audit.data.images import Unreadable
from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier


def maps_from_files(
    folder: Path, data: ImageData
) -> tuple[str, SaliencyMethod, list[str], dict[str, str]]:
    """Maps in a folder as a saliency method; see `data.saved_maps` for what files it may hold.

    Args:
        folder: where they lie.
        data: the images.

    Returns:
        Name of the method; the method, whose maps are ``(n, c, h, w)`` or ``(n, 1, h, w)``, NaN
        for images without one; lines the user must be told; and by image, why there is no map.

    Raises:
        InputError: no folder, two maps for one image, or no image that has a map to use.
    """
    saved = saved_maps(folder, data)

    def read(
        model: Classifier,
        images: Tensor,
        targets: Tensor,
        *,
        names: Sequence[str],
        scalar: str = "logit",
        graph: bool = False,
        generators: Sequence[torch.Generator] = (),
        batch_size: int | None = None,
    ) -> Tensor:
        """The maps of images by name, ``(n, k, h, w)``; depends on nothing else."""
        del model, targets, scalar, generators, batch_size
        if graph:
            raise UnsupportedError("maps from files cannot be made again for another image")
        try:
            return torch.stack([saved.read(name) for name in names]).to(images)
        except Unreadable as error:
            raise UnsupportedError(f"--maps {folder} was changed: {error}") from error

    method = SaliencyMethod(
        read,
        f"maps in {folder}",
        differentiable=False,
        signed=saved.signed,
        recorded=True,
    )
    name = f"maps:{folder.expanduser().resolve().name}"
    return name, method, saved.notes, saved.problems
