"""Maps made elsewhere as a saliency method: out of files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.data import ImageData, saved_maps
from saliency_audit.data.images import Unreadable
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier


def folders(written: Iterable[str]) -> dict[str, Path]:
    """Folders by the names of their methods, of what ``--maps`` says: ``NAME=FOLDER`` or a folder.

    A folder that is there is no name, whatever is in it.

    Raises:
        InputError: two have one name, or one has that of a saliency method.

    >>> folders(["lime=maps/a", "maps/b"])
    {'lime': PosixPath('maps/a'), 'maps:b': PosixPath('maps/b')}
    """
    found: dict[str, Path] = {}
    for text in written:
        name, equals, place = text.partition("=")
        if not equals or not name or Path(text).expanduser().is_dir():
            place = text
            name = f"maps:{Path(text).expanduser().resolve().name}"
        if name in METHODS:
            raise InputError(
                f"--maps {text}: {name} is a saliency method here; give another name, such as "
                f"my-{name}={place}"
            )
        if name in found:
            raise InputError(
                f"--maps {text}: {name} is {found[name]} already; give it a name of its own, "
                f"NAME={place}"
            )
        if place != text and (set(",;") & set(name) or not name.isprintable()):
            raise InputError(f"--maps {text}: a name has no comma, semicolon or control character")
        found[name] = Path(place)
    return found


def maps_from_files(
    folder: Path, data: ImageData
) -> tuple[SaliencyMethod, list[str], dict[str, str]]:
    """Maps in a folder as a saliency method; see `data.saved_maps` for what files it may hold.

    Args:
        folder: where they lie.
        data: the images.

    Returns:
        The method, whose maps are ``(n, c, h, w)`` or ``(n, 1, h, w)``, NaN
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
    return method, saved.notes, saved.problems
