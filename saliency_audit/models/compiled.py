"""Forward passes without a gradient by compiled code, which fuses what is computed one by one.

Compiled code has no second derivative, runs no hooks that are set later and takes longer than the
network itself for a gradient: so maps and attacks never go through it.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.models.classifier import Classifier
from saliency_audit.models.files import one_line

Logits = Callable[[Tensor], Tensor]

SAME = 1e-4
"""Largest change of a logit, over the largest logit, that is round-off."""


def refuse_to_compile(model: Classifier) -> None:
    """Refuse a model that cannot be compiled here, or whose numbers would change by it.

    Raises:
        UnsupportedError: it runs on a GPU or in half precision, is TorchScript, returns
            probabilities, or runs other activations than its own.
    """
    device = model.mean.device.type
    for refused, why in (
        (device != "cpu", f"is for CPUs, and {model.name} runs on {device}"),
        (model.format == "torchscript", f"is not for TorchScript, which {model.name} is"),
        (
            model.coarse is not None,
            f"would skip the rounding of half precision, which {model.name} runs in",
        ),
        (
            model.probabilities or model.reading.one == "probability",
            f"hides what the probabilities that {model.name} returns are made of",
        ),
        (
            model.activation is not None,
            f"is not for activations that are replaced, as those of {model.name} are",
        ),
    ):
        if refused:
            raise UnsupportedError(f"--compile {why}; leave it")


def compile_scores(model: Classifier, *, batch_size: int) -> None:
    """Have `Classifier.scores` go through code that ``torch.compile`` makes of the network.

    The code takes one number of images. Fewer are filled up with copies of the last one; less than
    half as many, and more, go through the network as ever.

    Args:
        model: audited; its weights may change afterwards, its layers may not.
        batch_size: that number, at least 1.

    Raises:
        UnsupportedError: see `refuse_to_compile`; there is no C++ compiler; the network cannot be
            compiled as a whole; or the code gives other logits, beyond round-off.
    """
    refuse_to_compile(model)
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(batch_size, *model.input_shape, generator=draw)
    usual = model.scores(images)
    try:
        with _quietly():
            network = _traceable(model.network, images.to(model.dtype or images.dtype))
            # No module, which would become a part of the model.
            code = model.reading.of(torch.compile(network, dynamic=False, fullgraph=True))
            model.compiled = code
            found = model.scores(images)
    # Anything can go wrong inside: it traces the user's forward and calls a compiler.
    except Exception as error:
        raise UnsupportedError(_why(model, error)) from error
    finally:
        model.compiled = None
    off = float((found - usual).abs().max() / usual.abs().max())
    if not off <= SAME:
        raise UnsupportedError(
            f"--compile: compiled code gives other logits of {model.name}, by {off:.1g} of the "
            "largest; leave it"
        )
    model.compiled = _of_one_size(code, model.reading.of(model.network), batch_size)


def _traceable(network: nn.Module, example: Tensor) -> nn.Module:
    """The network, or its graph without its submodules, where the compiler cannot see through them.

    The weights are the same tensors.
    """
    if not isinstance(network, torch.export.UnflattenedModule):
        return network
    with torch.no_grad():
        return torch.export.export(network, (example,)).module()


def _of_one_size(code: Logits, usually: Logits, size: int) -> Logits:
    def run(inputs: Tensor) -> Tensor:
        count = len(inputs)
        if not size / 2 <= count <= size:
            return usually(inputs)
        filled = torch.cat([inputs, inputs[-1:].expand(size - count, -1, -1, -1)]).contiguous()
        # Compiling once is enough: what the code was not made for runs as ever.
        with torch.compiler.set_stance("eager_on_recompile"):
            return code(filled)[:count]

    return run


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside, torch's compiler says nothing of itself."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _why(model: Classifier, error: BaseException) -> str:
    if "InvalidCxxCompiler" in f"{type(error).__name__} {error}":
        return "--compile needs a C++ compiler and finds none: install g++ (or name it in CXX)"
    return f"--compile: {model.name} cannot be compiled here ({one_line(error)}); leave it"
