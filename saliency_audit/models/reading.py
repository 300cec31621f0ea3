"""What of a network's output are the logits: a tensor in a structure, one logit, a probability.

A network may return a tuple, a dictionary or an object with the logits in it, or a single logit z
of a positive class. What is audited is two classes then, with logits 0 and z. The network itself,
and every file made of it, goes on returning what it returned.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models.probabilities import log_odds

Place = tuple[str | int, ...]
"""The way to a tensor in an output, from outside in; empty where the output is the tensor."""
One = Literal["", "logit", "probability"]
"""What a single output is; nothing where there are several."""

EMBEDDINGS = frozenset(
    (
        *("pooler_output", "image_embeds", "last_hidden_state", "hidden_states"),
        *("embedding", "embeddings", "features", "x_norm_clstoken"),
    )
)
"""Names that libraries give to what a head would read."""


@dataclass(frozen=True)
class Reading:
    """How logits are read off what a network returns.

    Attributes:
        place: where the tensor stands.
        one: what it is if it has one number for each image.
    """

    place: Place = ()
    one: One = ""

    def of(self, network: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
        """From the network's input to logits ``(n, classes)``."""
        if not self.one:
            return lambda inputs: picked(network(inputs), self.place)
        return lambda inputs: two_logits(
            lambda x: picked(network(x), self.place), inputs, probability=self.one == "probability"
        )


class Logits(nn.Module):
    """A network that returns the logits of another one, and keeps what that returned."""

    def __init__(self, network: nn.Module, reading: Reading) -> None:
        super().__init__()
        self.network = network
        self.reading = reading
        self.seen = _Seen()

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, classes)`` of the network's own input."""

        def kept(inputs: Tensor) -> Any:
            self.seen.output = self.network(inputs)
            return self.seen.output

        return self.reading.of(kept)(images)


class _Seen:
    """The last output; no tensor of the module, which an exporter would take for its state."""

    output: Any = None


class Restored(nn.Module):
    """A network of logits that returns them where, and as, the network in it returns its own.

    Args:
        network: gives logits; ``inside`` is part of it.
        inside: what gave it the logits that it started from.
    """

    def __init__(self, network: nn.Module, inside: Logits) -> None:
        super().__init__()
        self.network = network
        self._inside = (inside,)  # part of the network, not of this

    def forward(self, images: Tensor) -> Any:
        """What the network inside returns, with other logits in it."""
        (inside,) = self._inside
        logits: Tensor = self.network(images)
        output, inside.seen.output = inside.seen.output, None
        if inside.reading.one:
            if logits.shape[1] != 2:
                raise UnsupportedError(
                    f"the model has one output, which cannot say {logits.shape[1]} classes"
                )
            logits = (logits[:, 1] - logits[:, 0]).view_as(picked(output, inside.reading.place))
            # The last step, as in the network itself, so that whoever reads it finds the log-odds.
            logits = logits.sigmoid() if inside.reading.one == "probability" else logits
        return placed(output, inside.reading.place, logits)


def two_logits(network: Callable[[Tensor], Tensor], inputs: Tensor, *, probability: bool) -> Tensor:
    """Logits 0 and z of the two classes that one output tells apart, ``(n, 2)``.

    Args:
        network: gives ``(n, 1)`` or ``(n,)``.
        inputs: of the network.
        probability: it gives the sigmoid of z, which is read off by `log_odds`.

    >>> two_logits(lambda x: x.sum(1), torch.ones(1, 3), probability=False)
    tensor([[0., 3.]])
    """
    z = (log_odds(network, inputs) if probability else network(inputs)).reshape(-1, 1)
    return torch.cat([torch.zeros_like(z), z], 1)


def picked(output: Any, place: Place) -> Any:
    """The tensor at a place."""
    for step in place:
        inside = isinstance(output, Mapping | tuple | list)
        output = output[step] if inside else getattr(output, str(step))
    return output


def placed(output: Any, place: Place, tensor: Tensor) -> Any:
    """The same output with another tensor at a place.

    Of an object that is neither tuple, list nor dictionary, a dictionary of its tensors: no program
    can be saved that returns objects.
    """
    if not place:
        return tensor
    step, *rest = place
    if isinstance(output, tuple | list):
        listed = list(output)
        listed[int(step)] = placed(listed[int(step)], tuple(rest), tensor)
        return type(output)(*listed) if hasattr(output, "_fields") else type(output)(listed)
    items = dict(output) if isinstance(output, Mapping) else dict(vars(output))
    items[step] = placed(items[step], tuple(rest), tensor)
    return {key: value for key, value in items.items() if value is not None}


def find(output: Any, images: int, *, name: str, wanted: str) -> Place:
    """The place of the logits in what a network returned.

    Args:
        output: of the network.
        images: that it was given.
        name: of the model, for messages.
        wanted: what ``--output`` says: a name or a number, with dots between levels; or nothing.

    Raises:
        InputError: nothing in it could be logits, several could, or it is an embedding.
    """
    if isinstance(output, Tensor):
        if wanted:
            raise InputError(f"--output is {wanted}, but {name} returns one tensor; leave it")
        return ()
    kind = type(output).__name__
    found = {".".join(map(str, place)): (place, tensor) for place, tensor in _tensors(output)}
    rows = {
        key: place
        for key, (place, tensor) in found.items()
        if tensor.ndim in (1, 2) and len(tensor) == images and tensor.is_floating_point()
    }
    if wanted:
        if wanted in rows:
            return rows[wanted]
        known = ", ".join(rows) or "nothing that could be"
        raise InputError(f"--output is {wanted}; what {name} returns has {known}")
    wide = {key for key in rows if found[key][1].ndim == 2 and found[key][1].shape[1] > 1}
    chosen = {"logits"} & set(rows) or wide or set(rows)
    shapes = {key: _shape(tensor) for key, (_, tensor) in found.items()}
    if not chosen:
        seen = ", ".join(f"{key} {shape}" for key, shape in shapes.items()) or "no tensor"
        raise InputError(
            f"{name} returns a {kind} ({seen}) for {images} images; a classifier must return one "
            "row of logits per image, (n, classes)"
        )
    if named := [key for key in rows if key.rpartition(".")[2] in EMBEDDINGS and key in chosen]:
        raise InputError(embedding(name, f"it returns {named[0]} {shapes[named[0]]}"))
    if len(chosen) > 1:
        several = ", ".join(f"{key} {shapes[key]}" for key in rows if key in chosen)
        raise InputError(
            f"{name} returns a {kind} in which several could be the logits: {several}; choose one "
            f"with --output {next(key for key in rows if key in chosen)}"
        )
    return rows[chosen.pop()]


def embedding(name: str, why: str) -> str:
    """That a model gives features instead of classes, in one line."""
    return (
        f"{name} gives an embedding, not logits of classes ({why}); give the model with its "
        "classification head"
    )


def _tensors(output: Any, place: Place = ()) -> Iterator[tuple[Place, Tensor]]:
    """Every tensor in an output with its place, from outside in."""
    if isinstance(output, Tensor):
        yield place, output
        return
    inside: Mapping[Any, Any] = {}
    if isinstance(output, Mapping):
        inside = output
    elif isinstance(output, tuple | list):
        inside = dict(enumerate(output))
    elif hasattr(output, "__dict__") and not place:
        inside = vars(output)
    for key, value in inside.items():
        yield from _tensors(value, (*place, key))


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
