"""The one wrapper around every model: images in [0, 1] go in, logits come out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError, UnsupportedError, lookup
from saliency_audit.models.activation import InPlace, checked
from saliency_audit.models.probabilities import (
    LINEAR,
    SIGMOID,
    Last,
    LogProbabilities,
    Probabilities,
    log_odds,
    log_probabilities,
)
from saliency_audit.models.reading import (
    Logits,
    One,
    Reading,
    Restored,
    embedding,
    find,
    picked,
)
from saliency_audit.models.scalars import (
    MULTI_LABEL_SCALARS,
    ONE_OUTPUT_SCALARS,
    SCALARS,
    Scalar,
)
from saliency_audit.models.surrogates import Surrogate, surrogate
from saliency_audit.models.taken import FAILURES, type_taken, why_not
from saliency_audit.outputs import SOFTMAX, Outputs

if TYPE_CHECKING:
    from saliency_audit.models.masker import Masker

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


PLAIN = Reading()


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
        scalars: how explained scalars are read off the output; None means as ``outputs`` say.
        activation: what the network was trained with in place of its ReLU-like activations:
            ("softplus", beta), which is then what is run; None means its own.
        probabilities: ``network`` returns probabilities. Their logarithm, or of outputs that do
            not exclude each other their log-odds, is what this wrapper returns.
        output: which tensor the logits are, by name or number, of a network that returns several.
        reading: how logits are read off what the network returns; `check` finds out.
        dtype: of the images that ``network`` takes; None means that of its weights.
        outputs: how probabilities and predictions are read off logits.

    Attributes:
        ends_linear: whether the last step of the network was seen to be a linear layer, whose
            outputs are no probabilities; `check` finds out.
        resize: shorter side that images are resized to before the crop; None means the default.
        notes: lines that tell the user what was found and assumed when the model was loaded.
        assumed: what of the input nobody said, in a few words each.
        class_names: of the outputs from 0 on; None where whoever made the weights did not say.
        masker: reads a mask off feature maps of this model; None where nobody trained one. Models
            made of this one have the same.
        compiled: gives the logits of normalised images, faster and without a gradient; None where
            nobody compiled the network. Models made of this one have none.
        source: what was given as the model; empty if it came from Python.
        sha256: of the model's file, or of its weights; empty likewise.
    """

    mean: Tensor
    std: Tensor
    resize: int | None
    notes: list[str]
    assumed: list[str]
    class_names: Sequence[str] | None
    masker: "Masker | None"
    compiled: Callable[[Tensor], Tensor] | None
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
        scalars: Mapping[str, Scalar] | None = None,
        activation: InPlace | None = None,
        probabilities: bool = False,
        output: str = "",
        reading: Reading = PLAIN,
        dtype: torch.dtype | None = None,
        outputs: Outputs = SOFTMAX,
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
        if scalars is None:
            scalars = SCALARS if outputs.exclusive else MULTI_LABEL_SCALARS
        self.scalars = scalars
        self.activation = None if activation is None else checked(activation)
        if activation is not None:
            surrogate(network, "softplus", beta=activation[1])  # refuses TorchScript
        self.probabilities = probabilities
        self.output = output
        self.reading = reading
        self.outputs = outputs
        self.ends_linear = False
        self._dtype = dtype
        self._returned: torch.dtype | None = None
        self._passes = [0]
        self.compiled = None
        self.resize = None
        self.notes = []
        self.assumed = []
        self.class_names = None
        self.masker = None
        self.source = ""
        self.sha256 = ""

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, classes)`` of images ``(n, c, h, w)`` in [0, 1]."""
        logits: Tensor = self._run(images, self._logits)
        # In training mode some networks return a tuple, which whoever trains them refuses.
        half = isinstance(logits, Tensor) and logits.dtype in (torch.float16, torch.bfloat16)
        return logits.float() if half else logits

    def scores(self, images: Tensor) -> Tensor:
        """What calling it gives, without a graph; by compiled code where there is some."""
        with torch.no_grad():
            logits: Tensor
            logits = self(images) if self.compiled is None else self._run(images, self.compiled)
        return logits

    @property
    def dtype(self) -> torch.dtype | None:
        """Type of the images that the network takes; None where it has no weights to tell."""
        if self._dtype is not None:
            return self._dtype
        return next((p.dtype for p in self.network.parameters() if p.is_floating_point()), None)

    @property
    def coarse(self) -> torch.dtype | None:
        """The half-precision type that the network computes in, as far as known; None for none."""
        if self.precision == "bf16":
            return torch.bfloat16
        known = (self.dtype, self._returned)
        return next((t for t in known if t in (torch.float16, torch.bfloat16)), None)

    def _run(self, images: Tensor, run: Callable[[Tensor], Any]) -> Any:
        """What ``run`` makes of the images as the network takes them."""
        self.count(len(images))
        kind = self.dtype or images.dtype
        # In fp32 at least: half precision would round the pixels before they are normalised.
        pixels = images.to(torch.promote_types(images.dtype, kind))
        normalised = (pixels - self.mean.to(pixels.dtype)) / self.std.to(pixels.dtype)
        with self.activated():
            if self.precision == "fp32":
                return run(normalised.to(kind))
            with torch.autocast(images.device.type, torch.bfloat16):
                return run(normalised.to(kind))

    def _logits(self, normalised: Tensor) -> Tensor:
        read = self.reading.of(self.network)
        if not self.probabilities:
            return read(normalised)
        return self._read_off(read, normalised)

    @property
    def _read_off(self) -> Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]:
        """What stands for logits, of a network that returns probabilities."""
        return log_probabilities if self.outputs.exclusive else log_odds

    def forging(self, trick: Callable[[nn.Module], nn.Module], *, sums: bool = True) -> nn.Module:
        """The network with something done to its logits, returning what the network returns.

        Args:
            trick: from a network that gives logits to another one.
            sums: the probabilities of what it gives add up to 1; its exponential they are if not.
        """
        if self.reading == PLAIN:
            return self._forged(trick, self.network, sums=sums)
        inside = Logits(self.network, self.reading)
        if self.reading.one and not sums:
            raise UnsupportedError(f"{self.name} has one output, whose two classes always add up")
        return Restored(self._forged(trick, inside, sums=sums), inside)

    def _forged(
        self, trick: Callable[[nn.Module], nn.Module], network: nn.Module, *, sums: bool
    ) -> nn.Module:
        if not self.probabilities:
            return trick(network)
        inside = trick(LogProbabilities(network, self._read_off))
        if not self.outputs.exclusive:
            return Probabilities(inside, "sigmoid")
        return Probabilities(inside, "softmax" if sums else "exp")

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

    def strongest(self, logits: Tensor) -> Tensor:
        """The largest logit of each image, ``(n,)``; z of one output, whose other logit is 0."""
        return logits[:, 1] if self.reading.one else logits.amax(1)

    def kept(self, logits: Tensor, reference: Tensor) -> Tensor:
        """Whether both logits ``(n, classes)`` are the same prediction, ``(n,)`` bool."""
        return ~self.outputs.changed(logits, self.outputs.prediction(reference))

    def scalar(self, name: str) -> Scalar:
        """What reads an explained scalar off logits and targets.

        Of a network of one output they are `ONE_OUTPUT_SCALARS`.

        Args:
            name: in ``SCALARS``.

        Raises:
            InputError: no scalar has that name, or the outputs have none of it.
        """
        scalars = ONE_OUTPUT_SCALARS if self.reading.one else self.scalars
        if name in SCALARS and name not in scalars:
            raise UnsupportedError(
                f"{name} compares classes that exclude each other, which the outputs of a "
                f"{self.outputs.name} model do not; explain {', '.join(scalars)}"
            )
        return lookup("scalar", scalars, name)

    def explained(self, scalar: str, logits: Tensor, targets: Tensor) -> Tensor:
        """The explained scalar of each row of logits, ``(n,)``.

        Args:
            scalar: a name in ``SCALARS``.
            logits: ``(n, classes)``, this model's output.
            targets: explained class of each image, ``(n,)`` int64.

        Raises:
            InputError: see `scalar`.
        """
        return self.scalar(scalar)(logits, targets)

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
            "output": self.output,
            "reading": self.reading,
            "dtype": self._dtype,
            "outputs": self.outputs,
        }
        other = Classifier(network, **(same | changes)).to(self.mean.device)
        other.resize = self.resize
        other.masker = self.masker
        other.ends_linear = self.ends_linear
        other._returned = self._returned
        other._passes = self._passes
        return other

    @contextmanager
    def audited(self) -> Iterator["Classifier"]:
        """Inside: eval mode and frozen weights. Outside: every flag is as the user left it."""
        with evaluating(self):
            yield self

    def check(self, images: Tensor) -> int:
        """Run a first batch, settle how its output is read, and return the number of classes.

        Raises:
            InputError: the model does not take the images, or its output is not a finite
                ``(n, classes)`` tensor.
        """
        with Last(SIGMOID) as last, Last(LINEAR) as linear, torch.no_grad():
            output = self._whole(images)
        place = find(output, len(images), name=self.name, wanted=self.output)
        tensor = picked(output, place)
        if place:
            kind, where = type(output).__name__, ".".join(map(str, place))
            self._note(f"{self.name} returns a {kind}: its logits are {where}")
        if tensor.ndim not in (1, 2) or len(tensor) != len(images):
            raise InputError(
                f"{self.name} returns {tuple(tensor.shape)} for {len(images)} images; "
                "a classifier must return one row of logits per image, (n, classes)"
            )
        sigmoid = last.gave(tensor) or _traced_sigmoid(self.network)
        self.ends_linear = linear.gave(tensor)
        one: One = ""
        if tensor.ndim == 1 or tensor.shape[1] == 1:
            if not self.outputs.exclusive:
                raise InputError(
                    f"{self.name} has one output, which is audited as two classes that exclude "
                    f"each other; leave --outputs {self.outputs.name}"
                )
            one = "probability" if sigmoid else "logit"
            self._note(_of_one(self.name, one))
        elif sigmoid and not self.outputs.exclusive:
            self.probabilities = True
        elif sigmoid:
            self._note(
                f"WARNING: {self.name} returns {tensor.shape[1]} sigmoids, each a probability of "
                "its own: they are audited as logits of classes that exclude each other; give "
                "--outputs multi-label if they do not, or the model without its sigmoid if they do"
            )
        elif why := _embeds(self.network, tensor):
            raise InputError(embedding(self.name, why))
        self.reading = Reading(place, one)
        self._returned = tensor.dtype
        if self.dtype == torch.float16:
            self._note(
                f"{self.name} computes in float16, in which gradients below 6e-8 are 0 (of "
                "log-prob and loss where it is sure); give model.float() to see those"
            )
        logits = tensor
        if one or self.probabilities:
            with torch.no_grad():
                logits = self(images)
        if not bool(logits.isfinite().all()):
            broken = [n for n, p in self.network.named_parameters() if not p.isfinite().all()]
            where = (
                f"its weights hold NaN or infinity in {broken[0]}" if broken else "not in weights"
            )
            raise InputError(f"{self.name} returns NaN or infinite logits ({where})")
        return int(logits.shape[1])

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _whole(self, images: Tensor) -> Any:
        """All that the network returns.

        Raises:
            InputError: it does not take the images; the message says what it takes instead.
        """
        try:
            return self._run(images, self.network)
        except FAILURES as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            problem = error
        with self.activated():
            given = images.to(self.dtype or images.dtype)
            kind = type_taken(self.network, given)
            if kind is None:
                raise InputError(
                    why_not(self.network, given, problem, name=self.name, format=self.format)
                ) from problem
        self._dtype = kind
        return self._run(images, self.network)


def _traced_sigmoid(network: nn.Module) -> bool:
    """Whether a TorchScript program returns what a sigmoid gave."""
    graph = getattr(network, "inlined_graph", None)
    outputs = [] if graph is None else list(graph.outputs())
    return any(value.node().kind() == "aten::sigmoid" for value in outputs)


def _of_one(name: str, one: One) -> str:
    what = "a probability" if one == "probability" else "one logit z"
    z = "its log-odds z" if one == "probability" else "z"
    return (
        f"{name} returns {what}: two classes, with logits 0 and {z}, which is explained (-z for "
        "class 0); files made of it return one number, too"
    )


def _embeds(network: nn.Module, rows: Tensor) -> str:
    """Why what a network returns is no logits but an embedding; empty where nothing says so."""
    if getattr(network, "num_classes", None) == 0:
        return "it was built with num_classes=0"
    for name in ("head", "fc", "classifier", "heads"):
        if type(getattr(network, name, None)) is nn.Identity:
            return f"its {name} is nn.Identity"
    lengths = rows.double().norm(dim=1)
    mixed = bool((rows < 0).any()) and bool((rows > 0).any())
    if rows.shape[1] >= 16 and mixed and bool(((lengths - 1).abs() < 1e-3).all()):
        return f"each of its rows of {rows.shape[1]} numbers has length 1"
    return ""
