"""Stream images through a loader, in batches whose number means the same in every run."""

import signal
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from saliency_audit.data.dataset import Failure, ImageData, Sample
from saliency_audit.errors import InputError


@dataclass(frozen=True)
class ImageBatch:
    """Consecutive images of a data set.

    Attributes:
        index: number of the batch; the same images have the same number in every run.
        names: of the images that could be read, ``n`` of them; 0 if none could.
        images: ``(n, c, h, w)`` float32 in [0, 1], on the device.
        labels: ``(n,)`` int64 on the device, -1 for none.
        failures: those that could not be read.
    """

    index: int
    names: list[str]
    images: Tensor
    labels: Tensor
    failures: list[Failure]


@dataclass(frozen=True)
class _Collate:
    input_shape: tuple[int, int, int]

    def __call__(
        self, samples: list[Sample]
    ) -> tuple[list[str], Tensor, Tensor, list[tuple[str, int | None, str]]]:
        """Plain values only, which the loader can pin and hand from process to process."""
        names, labels, images, failures = [], [], [], []
        for name, label, image in samples:
            if isinstance(image, Failure):
                failures.append((image.name, image.label, image.message))
            else:
                names.append(name)
                labels.append(label)
                images.append(image)
        pixels = torch.stack(images) if images else torch.empty(0, *self.input_shape)
        return names, pixels, torch.tensor(labels, dtype=torch.int64), failures


def images_of(images: int, batch_size: int, *, shard: tuple[int, int], done: Container[int]) -> int:
    """Images that `batches` will yield to one process of several.

    >>> images_of(10, 4, shard=(0, 2), done=()), images_of(10, 4, shard=(1, 2), done=())
    (6, 4)
    """
    return sum(
        min(batch_size, images - index * batch_size)
        for index in range(-(-images // batch_size))
        if index % shard[1] == shard[0] and index not in done
    )


def batches(
    data: ImageData,
    *,
    batch_size: int,
    workers: int = 0,
    device: torch.device | str = "cpu",
    skip: Container[int] = (),
    shard: tuple[int, int] = (0, 1),
) -> Iterator[ImageBatch]:
    """The images in order, ``batch_size`` at a time; read ahead of the device by the workers.

    Args:
        data: the images.
        batch_size: images per batch; the last batch may be smaller.
        workers: processes that read; 0 reads in this one.
        device: where the tensors go.
        skip: numbers of batches that are not even read.
        shard: ``(rank, world)``: only batches whose number is rank modulo world.

    Yields:
        Batches by rising number; each image is in one, as an image or as a failure.

    Raises:
        InputError: ``batch_size`` is below 1, or ``workers`` below 0.
    """
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; give at least 1")
    if workers < 0:
        raise InputError(f"--workers is {workers}; give 0 or more")
    rank, world = shard
    count = -(-len(data) // batch_size)
    wanted = [index for index in range(count) if index % world == rank and index not in skip]
    order = [
        list(range(index * batch_size, min((index + 1) * batch_size, len(data))))
        for index in wanted
    ]
    for index, batch in zip(
        wanted, in_order(data, order, workers=workers, device=device), strict=True
    ):
        yield replace(batch, index=index)


def in_order(
    data: ImageData,
    order: Iterable[list[int]],
    *,
    workers: int = 0,
    device: torch.device | str = "cpu",
) -> Iterator[ImageBatch]:
    """Batches of chosen images, read ahead of the device by the workers.

    Args:
        data: the images.
        order: positions of the images of each batch; may be endless.
        workers: processes that read; 0 reads in this one.
        device: where the tensors go.

    Yields:
        The batches, numbered from 0.
    """
    on_cuda = torch.device(device).type == "cuda"
    loader = DataLoader(
        data,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_Collate(data.input_shape),
        pin_memory=on_cuda,
        # Its own generator: the loader must not take numbers from the caller's.
        generator=torch.Generator(),
        worker_init_fn=_leave_interrupts,
    )
    for index, (names, images, labels, failures) in enumerate(loader):
        yield ImageBatch(
            index,
            list(names),
            images.to(device, non_blocking=on_cuda),
            labels.to(device, non_blocking=on_cuda),
            [Failure(*failure) for failure in failures],
        )


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process; the one that waits for the workers ends them."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
