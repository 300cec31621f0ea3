"""The device a run computes on, and how many images it takes at once."""

from collections.abc import Callable
from math import prod
from typing import TypeVar

import torch

from saliency_audit.errors import AuditError, InputError

Result = TypeVar("Result")

# Values of one batch at which convolutional networks ran fastest per image; on a GPU what its
# memory holds with gradients.
_CPU_VALUES, _CPU_MOST = 4 * 3 * 224 * 224, 64
_GPU_VALUES, _GPU_MOST = 256 * 3 * 224 * 224, 4096


def resolve_device(name: str) -> torch.device:
    """The device that ``--device`` names; TF32 is off on it.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.

    Raises:
        InputError: unknown name, or this machine has no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    apple = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if gpus else "mps" if apple else "cpu"
    kind, _, index = name.partition(":")
    # Python refuses to read a number of thousands of digits.
    if kind == "cuda" and (not index or (index.isdecimal() and len(index) < 10)):
        if int(index or 0) >= gpus:
            seen = f"has {gpus} CUDA device{'s'[: gpus != 1]}" if gpus else "sees no CUDA device"
            raise InputError(f"--device is {name} but torch {seen}; give --device auto or cpu")
        # Ten bits of mantissa are too few for gradients of gradients and for ranks of pixels.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    elif name == "mps":
        if not apple:
            raise InputError("--device is mps but torch sees no Apple GPU; give --device cpu")
    elif name != "cpu":
        raise InputError(f"--device is '{name}'; give auto, cpu, cuda, cuda:N or mps")
    return torch.device(name)


def auto_batch_size(input_shape: tuple[int, int, int], device: torch.device) -> int:
    """Images to start with at a time; the same in every run.

    Args:
        input_shape: ``(c, h, w)``.
        device: where the model runs.

    >>> auto_batch_size((3, 224, 224), torch.device("cpu"))
    4
    """
    values, most = (_CPU_VALUES, _CPU_MOST) if device.type == "cpu" else (_GPU_VALUES, _GPU_MOST)
    return min(most, max(1, values // prod(input_shape)))


def halve_on_oom(
    function: Callable[[int], Result], batch_size: int, *, tell: Callable[[str], None]
) -> Result:
    """Call ``function(batch_size)``, with half as many images whenever the memory is too small.

    Args:
        function: takes the batch size; is called from its start again.
        batch_size: to start with.
        tell: takes a line for the user.

    Raises:
        AuditError: the memory does not even hold one image.
    """
    while True:
        try:
            return function(batch_size)
        except torch.OutOfMemoryError as error:
            failed = error.with_traceback(None)
        # Outside of the except clause and without the traceback, which would hold the tensors.
        torch.cuda.empty_cache()
        if batch_size == 1:
            raise AuditError(
                "out of memory with one image at a time; give a smaller --size or --device cpu"
            ) from failed
        batch_size //= 2
        tell(f"out of memory: going on with --batch-size {batch_size}")
