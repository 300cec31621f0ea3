"""The one wrapper around every model: images in [0, 1] go in, logits come out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError, lookup
from saliency_audit.models.activation import InPlace, checked
from saliency_audit.models.probabilities import (
    LogProbabilities,
    Probabilities,
    log_probabilities,
)
from saliency_audit.models.scalars import SCALARS, Scalar
from saliency_audit.models.surrogates import Surrogate, surrogate

Format = Literal["module", "exported", "torchscript"]


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Inside: eval mode. Outside: every module is in the mode it was in before."""
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside: eval mode and frozen weights. Outside: every flag is as it was before."""
    frozen = {parameter: parameter.requires_grad for parameter in network.parameters()}
    try:
        with in_eval_mode(network):
            network.requires_grad_(False)
            yield
    finally:
        for parameter, requires_grad in frozen.items():
            parameter.requires_grad_(requires_grad)


class Classifier(nn.Module):
    """A classifier on images in [0, 1]; the normalisation is its first layer.

    Every budget, baseline and fill value of an audit therefore means pixels.

    Args:
        network: the user's model, ``(n, c, h, w)`` normalised images to ``(n, classes)`` logits.
        input_shape: ``(c, h, w)`` of one image.
        mean: per channel, or one number for all, in pixel units.
        std: likewise.
        name: how reports call the model.
        format: what kind of object ``network`` is; decides what can be done with it.
        precision: "bf16" runs the network under autocast; logits are always fp32 or better.
        layer: name of the layer that Grad-CAM reads; None means the last spatial one.
        scalars: how explained scalars are read off the output.
        activation: what the network was trained with in place of its ReLU-like activations:
            ("softplus", beta), which is then what is run; None means its own.
        probabilities: ``network`` returns probabilities. Their logarithm is what this wrapper
            returns.

    Attributes:
        resize: shorter side that images are resized to before the crop; None means the default.
        notes: lines that tell the user what was found and assumed when the model was loaded.
        source: what was given as the model; empty if it came from Python.
        sha256: of the model's file, or of its weights; empty likewise.
    """

    mean: Tensor
    std: Tensor
    resize: int | None
    notes: list[str]
    source: str
    sha256: str

    def __init__(
        self,
        network: nn.Module,
        *,
        input_shape: tuple[int, int, int],
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        name: str = "model",
        format: Format = "module",
        precision: Literal["fp32", "bf16"] = "fp32",
        layer: str | None = None,
        scalars: Mapping[str, Scalar] = SCALARS,
        activation: InPlace | None = None,
        probabilities: bool = False,
    ) -> None:
        super().__init__()
        channels = input_shape[0]
        for what, values in (("mean", mean), ("std", std)):
            numbers = [values] if isinstance(values, int | float) else list(values)
            if len(numbers) not in (1, channels):
                raise InputError(
                    f"--{what} has {len(numbers)} values but the model takes {channels} channels; "
                    f"give one value or {channels}"
                )
            colour = torch.tensor(numbers, dtype=torch.float64).expand(channels)
            if what == "std" and not bool((colour > 0).all()):
                raise InputError(f"--std is {numbers}; every value must be above 0")
            self.register_buffer(what, colour.float().view(1, -1, 1, 1).clone(), persistent=False)
        self.network = network
        self.input_shape = input_shape
        self.name = name
        self.format: Format = format
        self.precision = precision
        self.layer = layer
        self.scalars = scalars
        self.activation = None if activation is None else checked(activation)
        if activation is not None:
            surrogate(network, "softplus", beta=activation[1])  # refuses TorchScript
        self.probabilities = probabilities
        self._passes = [0]
        self.resize = None
        self.notes = []
        self.source = ""
        self.sha256 = ""

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, classes)`` of images ``(n, c, h, w)`` in [0, 1]."""
        self.count(len(images))
        normalised = (images - self.mean.to(images.dtype)) / self.std.to(images.dtype)
        with self.activated():
            if self.precision == "fp32":
                return self._logits(normalised)
            with torch.autocast(images.device.type, torch.bfloat16):
                logits = self._logits(normalised)
        return logits.float() if isinstance(logits, Tensor) else logits

    def _logits(self, normalised: Tensor) -> Tensor:
        if self.probabilities:
            return log_probabilities(self.network, normalised)
        logits: Tensor = self.network(normalised)
        return logits

    def forging(self, trick: Callable[[nn.Module], nn.Module], *, sums: bool = True) -> nn.Module:
        """The network with something done to its logits, returning what the network returns.

        Args:
            trick: from a network that gives logits to another one.
            sums: the probabilities of what it gives add up to 1; its exponential they are if not.
        """
        if not self.probabilities:
            return trick(self.network)
        return Probabilities(trick(LogProbabilities(self.network)), normalised=sums)

    def activated(self) -> AbstractContextManager[Any]:
        """Inside, whoever runs ``self.network`` gets the activations it was trained with."""
        inside = ExitStack()
        # A program may turn gradients off, and would leave them off for everyone.
        inside.enter_context(torch.set_grad_enabled(torch.is_grad_enabled()))
        if self.activation is not None:
            inside.enter_context(Surrogate("softplus", self.activation[1]))
        return inside

    def count(self, images: int) -> None:
        """Count forward passes that were run past this wrapper, or by it."""
        self._passes[0] += images

    @property
    def passes(self) -> int:
        """Images that went forward so far, through this model and those it was replaced by."""
        return self._passes[0]

    def explained(self, scalar: str, logits: Tensor, targets: Tensor) -> Tensor:
        """The explained scalar of each row of logits, ``(n,)``.

        Args:
            scalar: a name in ``SCALARS``.
            logits: ``(n, classes)``, this model's output.
            targets: explained class of each image, ``(n,)`` int64.

        Raises:
            InputError: no scalar has that name.
        """
        return lookup("scalar", self.scalars, scalar)(logits, targets)

    def replaced(self, network: nn.Module, **changes: Any) -> "Classifier":
        """The same classifier around another network for the same input.

        Args:
            network: takes what ``self.network`` takes.
            **changes: arguments of `Classifier` that differ.
        """
        same: dict[str, Any] = {
            "input_shape": self.input_shape,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "name": self.name,
            "format": self.format,
            "precision": self.precision,
            "layer": self.layer,
            "scalars": self.scalars,
            "activation": self.activation,
            "probabilities": self.probabilities,
        }
        other = Classifier(network, **(same | changes)).to(self.mean.device)
        other.resize = self.resize
        other._passes = self._passes
        return other

    @contextmanager
    def audited(self) -> Iterator["Classifier"]:
        """Inside: eval mode and frozen weights. Outside: every flag is as the user left it."""
        with evaluating(self):
            yield self

    def check(self, images: Tensor) -> int:
        """Run a first batch and return the number of classes.

        Raises:
            InputError: the model does not take the images, or its output is not a finite
                ``(n, classes)`` tensor.
        """
        shape = "x".join(map(str, images.shape[1:]))
        try:
            with torch.no_grad():
                logits = self(images)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self.name} does not take images of {shape}: {reason}. "
                "Set --size and --channels to what the model was trained with"
            ) from error
        if hasattr(logits, "logits") or (isinstance(logits, dict) and "logits" in logits):
            raise InputError(
                f"{self.name} returns a {type(logits).__name__} with the logits in it; wrap it in "
                "a module whose forward returns only its .logits"
            )
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            seen = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(
                f"{self.name} returns {seen} for {len(images)} images; "
                "a classifier must return one row of logits per image, (n, classes)"
            )
        if logits.shape[1] < 2:
            raise InputError(f"{self.name} has {logits.shape[1]} output; at least 2 are needed")
        if not bool(logits.isfinite().all()):
            broken = [n for n, p in self.network.named_parameters() if not p.isfinite().all()]
            where = (
                f"its weights hold NaN or infinity in {broken[0]}" if broken else "not in weights"
            )
            raise InputError(f"{self.name} returns NaN or infinite logits ({where})")
        return int(logits.shape[1])
