"""What training starts from: weights that can be trained, or new ones."""

from collections.abc import Sequence
from typing import Literal

import torch

from saliency_audit.errors import UnsupportedError
from saliency_audit.models.architectures import builder
from saliency_audit.models.checkpoints import of_library
from saliency_audit.models.classifier import Classifier, in_eval_mode
from saliency_audit.models.found import Found
from saliency_audit.models.load import copied
from saliency_audit.models.randomise import randomised, weight_layers
from saliency_audit.models.wrap import wrapped
from saliency_audit.outputs import SOFTMAX


def trainable(model: Classifier) -> None:
    """Refuse what cannot be trained.

    Raises:
        UnsupportedError: the model is a saved program (``.pt2`` or TorchScript), or its outputs do
            not exclude each other: images have one label each, which is no set of them.
    """
    if not model.outputs.exclusive:
        raise UnsupportedError(
            f"{model.name} is {model.outputs.name} and cannot be trained here: images have one "
            "label each, and training needs the set of all that is there"
        )
    if model.format != "module":
        raise UnsupportedError(
            f"{model.name} is a program whose weights cannot be trained here; give the state dict "
            "with --arch, such as model.safetensors --arch package.module:factory"
        )


def fresh(
    arch: str,
    *,
    size: int | Sequence[int] | None = None,
    channels: int | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: Literal["fp32", "bf16"] = "fp32",
    layer: str | None = None,
    output: str | None = None,
    outputs: str = SOFTMAX.name,
    channels_last: bool = False,
) -> Classifier:
    """A classifier of an architecture, with the random weights that its code gives it.

    Args:
        arch: ``torchvision:NAME``, ``timm:NAME`` or ``package.module:factory``.
        size: side of an image, or its height and width; None takes what is known, or assumes it.
        channels: of an image; likewise.
        mean: per channel, in pixel units; likewise.
        std: likewise.
        seed: of the weights; the global random state is not touched.
        device: where it will run.
        precision: of the network.
        layer: name of the layer that Grad-CAM reads.
        output: which tensor the logits are, by name or number, of a model that returns several.
        outputs: what they say, a name in ``OUTPUTS``.
        channels_last: lay the weights of convolutions out so, as for `load`.

    Returns:
        The classifier, called like its architecture. Its ``notes`` are lines that tell the user
        what was assumed.

    Raises:
        InputError: there is no such architecture, or it cannot be built.
    """
    build = builder(arch)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds the GPUs as well.
        torch.default_generator.manual_seed(seed)
        network = build()
    found = of_library(Found(network, arch), arch, {})
    found.class_names = None
    found.notes.append(f"{arch} starts from random weights (seed {seed})")
    classifier = wrapped(
        found,
        size=size,
        channels=channels,
        mean=mean,
        std=std,
        precision=precision,
        layer=layer,
        output=output,
        outputs=outputs,
        device=device,
        channels_last=channels_last,
    )
    classifier.source = arch
    return classifier


def reinitialised(model: Classifier, *, seed: int) -> Classifier:
    """The same classifier with new random weights: those that each layer gives itself.

    They are drawn by ``reset_parameters`` of the layers, and running statistics are reset. An
    architecture that initialises its layers in another way once they are made (torchvision's
    ResNet does) starts elsewhere: build it anew with `fresh` for that.

    Args:
        model: stays as it is, bit for bit.
        seed: of the weights; the global random state is not touched.

    Returns:
        A classifier with weights of its own.

    Raises:
        UnsupportedError: it is a saved program, or a layer has no initialisation of its own.
    """
    trainable(model)
    example = torch.zeros(1, *model.input_shape, device=model.mean.device)
    with in_eval_mode(model):
        layers = weight_layers(model, example)
    try:
        with randomised(how="reinit", seed=seed) as randomise:
            for layer in layers:
                randomise(layer)
            network = copied(model)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{error}; give --arch alone, which builds it anew, instead of {model.name}"
        ) from error
    for module in network.modules():
        # Normalisation without weights of its own is no weight layer.
        reset = getattr(module, "reset_running_stats", None)
        if callable(reset):
            reset()
    other = model.replaced(network)
    other.train(model.training)
    other.notes = [f"{model.name} starts from random weights (seed {seed})"]
    return other
