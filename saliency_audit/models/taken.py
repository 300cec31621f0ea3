"""Why a network does not take the images it is given, found by trying others."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from saliency_audit.models.files import one_line

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
BATCHES = (1, 3, 4, 8, 16, 32)
SIDES = (224, 32, 28, 64, 96, 128, 256, 299, 384, 16, 48, 112, 160, 192, 512)
FAILURES = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, NotImplementedError)
"""What a network fails with on images that it does not take."""


def works(run: Callable[[Tensor], Any], images: Tensor) -> bool:
    """Whether a network takes images; those that memory does not hold count as not taken."""
    try:
        with torch.no_grad():
            run(images)
    except FAILURES:
        return False
    return True


def type_taken(run: Callable[[Tensor], Any], images: Tensor) -> torch.dtype | None:
    """The type of images that a network takes where it does not take theirs; None for none."""
    others = [kind for kind in TYPES if kind != images.dtype]
    return next((kind for kind in others if works(run, images.to(kind))), None)


def why_not(
    run: Callable[[Tensor], Any], images: Tensor, error: BaseException, *, name: str, format: str
) -> str:
    """The cause in one line, with what helps.

    Args:
        run: the network.
        images: that it failed on, ``(n, c, h, w)``.
        error: what it failed with.
        name: of the model.
        format: what kind of object the network is.
    """
    for cause in _causes(run, images, name, format):
        return cause
    shape = _shape(images)
    return (
        f"{name} does not take images of {shape}: {_reason(error)}. Neither does it take other "
        "usual sizes, numbers of channels, types or batches: give --size HEIGHT,WIDTH if its "
        "images are not square, or see whether it runs by itself"
    )


def _causes(run: Callable[[Tensor], Any], images: Tensor, name: str, format: str) -> Iterator[str]:
    one = images[:1]
    for count in BATCHES:
        if count != len(images) and works(run, one.repeat(count, 1, 1, 1)):
            yield (
                f"{name} takes {counted(count)} at a time, no more and no fewer: "
                f"{_any_number(format)}"
            )
    channels, height, width = images.shape[1:]
    for other in (3, 1, 4, 2):
        if other != channels and works(run, _grey(images, other, height, width)):
            yield f"{name} takes {other} channels, not {channels}: give --channels {other}"
    for side in SIDES:
        if side != height or side != width:
            for other in dict.fromkeys((channels, 3, 1)):
                if works(run, _grey(images, other, side, side)):
                    also = "" if other == channels else f" --channels {other}"
                    yield (
                        f"{name} does not take images of {_shape(images)}, but of {side}x{side}: "
                        f"give --size {side}{also}, or whatever size it was trained with"
                    )


def _any_number(format: str) -> str:
    if format == "torchscript":
        return (
            "its number is fixed in the program (a view or reshape with a number, perhaps); write "
            "len(images) there and trace or script it again, images being a batch of 2"
        )
    return (
        "its number is fixed in the code (a view or reshape with a number, perhaps); write "
        "len(images) there"
    )


def _grey(images: Tensor, channels: int, height: int, width: int) -> Tensor:
    return images.new_full((len(images), channels, height, width), 0.5)


def counted(count: int) -> str:
    """So many images, in words."""
    return "one image" if count == 1 else f"{count} images"


def _shape(images: Tensor) -> str:
    return "x".join(map(str, images.shape[1:]))


def _reason(error: BaseException) -> str:
    """What an error says: its last line where TorchScript prints its own traceback first."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if "TorchScript" in str(error) and lines:
        return " ".join(lines[-1].removeprefix("RuntimeError: ").split())[:160]
    return one_line(error).partition(": ")[2] or one_line(error)
