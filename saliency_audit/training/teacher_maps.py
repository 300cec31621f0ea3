"""Maps of a teacher, which a student's maps are to become (P4 eq. 4)."""

from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saliency_audit.data import ImageData, batches
from saliency_audit.errors import InputError
from saliency_audit.models import Classifier, gradients_at
from saliency_audit.seeding import generators, random_numbers
from saliency_audit.training.step import at_least


def teacher_maps(
    teacher: Classifier,
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    *,
    samples: int = 50,
    sigma: float = 0.15,
    threshold: float | None = 1.0,
    permute: bool = False,
    seed: int,
    batch_size: int,
) -> Tensor:
    r"""SmoothGrad of magnitudes, of which only what stands out is kept.

    .. math:: I(x) = \frac1N \sum_{k=1}^{N} |\nabla_x f_y(x + \sigma e_k)|

    with 0 in place of every value below the mean plus ``threshold`` standard deviations of the
    image's own map. The teacher is in eval mode and frozen meanwhile.

    Args:
        teacher: a classifier, usually a robust one.
        images: ``(n, c, h, w)`` in [0, 1].
        labels: ``(n,)``.
        names: of the images; what is drawn for one depends on its name and the seed alone.
        samples: N, noisy copies per image.
        sigma: standard deviation of the noise, pixel units; 0 takes the image itself.
        threshold: in standard deviations; None keeps all.
        permute: the control: the same values at random places, the same ones at every call.
        seed: of the noise and of the places.
        batch_size: most noisy copies the teacher sees at once.

    Returns:
        ``(n, c, h, w)``, >= 0, in logits per unit of pixel value, not normalised. Source: P4
        eq. 4, 3.1 and 4.1. As printed: noisy copies are not cut to [0, 1] and the clean image is
        not among them (its code does both); "standard Gaussian" noise is that of sigma, 0.15. The
        standard deviation is that of all values of the map.

    Raises:
        InputError: an option that means nothing.
    """
    at_least("samples", samples, 1)
    at_least("sigma", sigma, 0)
    draws = generators(seed, names, "teacher-maps", images.device)

    def noisy(_: int) -> Tensor:
        return images + sigma * random_numbers(torch.randn, images.shape, draws, images.dtype)

    maps = torch.zeros_like(images)
    with teacher.audited() as frozen:
        for gradients in gradients_at(frozen, noisy, samples, labels, batch_size=batch_size):
            maps += gradients.abs().sum(0)
    maps /= samples
    if threshold is not None and threshold > -inf:
        maps = standing_out(maps, threshold)
    return permuted(maps, generators(seed, names, "teacher-maps-places")) if permute else maps


def standing_out(maps: Tensor, threshold: float) -> Tensor:
    """Each map with 0 where it is below its mean plus ``threshold`` standard deviations.

    Args:
        maps: ``(n, c, h, w)``, >= 0.
        threshold: in standard deviations.

    Returns:
        ``(n, c, h, w)``.

    >>> standing_out(torch.tensor([[[[0.0, 0.0, 0.0, 4.0]]]]), 1.0)
    tensor([[[[0., 0., 0., 4.]]]])
    """
    values = maps.flatten(1)
    least = values.mean(1, keepdim=True) + threshold * values.std(1, correction=0, keepdim=True)
    return values.masked_fill(values < least, 0).view_as(maps)


def permuted(maps: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
    """Each map with its values at random places.

    Args:
        maps: ``(n, c, h, w)``.
        draws: one generator per map, on the CPU.

    Returns:
        ``(n, c, h, w)``.
    """
    values = maps.flatten(1)
    places = torch.stack([torch.randperm(values.shape[1], generator=draw) for draw in draws])
    return values.gather(1, places.to(maps.device)).view_as(maps)


def create_targets(path: Path, data: ImageData) -> None:
    """Make the file that `write_targets` fills, all 0; one process does it before all others.

    It has another name until `finish_targets`, so what an interrupted run leaves is never read.

    Args:
        path: of the finished file, ``.npy``.
        data: the training images.
    """
    shape = (len(data), *data.input_shape)
    np.lib.format.open_memmap(_unfinished(path), "w+", np.float32, shape).flush()


def write_targets(
    path: Path,
    teacher: Classifier,
    data: ImageData,
    *,
    samples: int = 50,
    sigma: float = 0.15,
    threshold: float | None = 1.0,
    permute: bool = False,
    seed: int,
    batch_size: int,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    advance: Callable[[int], None] = lambda images: None,
) -> None:
    """Fill in the teacher's maps, one share per process; memory holds those of one batch.

    What cannot be read keeps a map of 0.

    Args:
        path: as `create_targets` was given it.
        teacher: see `teacher_maps`, likewise what follows.
        data: the training images, labelled.
        samples: noisy copies per image.
        sigma: standard deviation of the noise, pixel units.
        threshold: in standard deviations.
        permute: the same values at random places.
        seed: of the noise and of the places.
        batch_size: most noisy copies the teacher sees at once.
        workers: processes that read images.
        shard: ``(rank, world)``: which share this process fills.
        advance: called with the number of images after each batch.

    Raises:
        InputError: an option that means nothing.
    """
    stored = np.lib.format.open_memmap(_unfinished(path), "r+")
    rows = _rows(data)
    device = teacher.mean.device
    for batch in batches(data, batch_size=batch_size, workers=workers, device=device, shard=shard):
        if batch.names:
            maps = teacher_maps(
                teacher,
                batch.images,
                batch.labels,
                batch.names,
                samples=samples,
                sigma=sigma,
                threshold=threshold,
                permute=permute,
                seed=seed,
                batch_size=batch_size,
            )
            stored[[rows[name] for name in batch.names]] = maps.float().cpu().numpy()
        advance(len(batch.names) + len(batch.failures))
    stored.flush()


def finish_targets(path: Path) -> None:
    """Give the file its name, once all processes have written theirs; one process does it."""
    _unfinished(path).replace(path)


def read_targets(path: Path, data: ImageData) -> Callable[[Sequence[str]], Tensor]:
    """The maps of a finished file, read when they are asked for.

    Args:
        path: of the file.
        data: the images it was made for.

    Returns:
        ``(names) -> (n, c, h, w)``, float32, on the CPU.

    Raises:
        InputError: the file was made for other images.
    """
    stored = np.load(path, mmap_mode="r")
    shape = (len(data), *data.input_shape)
    if stored.shape != shape:
        raise InputError(
            f"{path} holds maps of shape {stored.shape}, but the training images are {shape}; "
            "delete it to have it made again"
        )
    rows = _rows(data)

    def read(names: Sequence[str]) -> Tensor:
        return torch.from_numpy(stored[[rows[name] for name in names]])

    return read


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _rows(data: ImageData) -> dict[str, int]:
    return {name: row for row, name in enumerate(data.names)}
