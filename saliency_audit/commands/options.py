"""Options that several commands share, declared once."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from saliency_audit.catalogue.formats import FORMATS
from saliency_audit.catalogue.methods import MAPS, METHODS
from saliency_audit.errors import InputError
from saliency_audit.options import Given, Option
from saliency_audit.ranges import COUNT, MANY, SIDE, Range

MODEL, DATA, RUN = "Model", "Images", "Run"


class Taker(Protocol):
    """An entry of a catalogue."""

    @property
    def options(self) -> tuple[Option, ...]:
        """What a user can set of it."""


def options_of(entries: Mapping[str, Taker]) -> tuple[Option, ...]:
    """The options of all entries, each once; repeatable where it is for one of them."""
    found: dict[str, Option] = {}
    for entry in entries.values():
        for option in entry.options:
            if option.many or option.name not in found:
                found[option.name] = option
    return tuple(found.values())


def refuse_twice(command: str, options: Iterable[Option]) -> None:
    """Refuse two options of one name in a command: Python's own error names neither.

    Args:
        command: its name.
        options: all of it.

    Raises:
        TypeError: for whoever declared the second.

    >>> refuse_twice("gate", [Option("k", help="A share."), Option("k", help="A count.")])
    Traceback (most recent call last):
    ...
    TypeError: two options of gate are called --k: 'A share.' and 'A count.'; rename one of them
    """
    seen: dict[str, Option] = {}
    for option in options:
        if option.flag in seen:
            raise TypeError(
                f"two options of {command} are called {option.flag}: '{seen[option.flag].help}' "
                f"and '{option.help}'; rename one of them"
            )
        seen[option.flag] = option


ARGUMENT = Option(
    "model",
    shown=False,
    metavar="MODEL",
    common=True,
    help="model.pt2, model.pt, model.safetensors, torchvision:NAME, timm:NAME, hf:FOLDER or"
    " hf:NAME; without it, the bundled model.",
)
OF_MODEL = (
    Option(
        "arch",
        panel=MODEL,
        common=True,
        help="Architecture of a state dict: torchvision:NAME, timm:NAME or package.module:factory.",
    ),
    Option(
        "size",
        "sides",
        range=SIDE,
        panel=MODEL,
        common=True,
        help="Side of the model's input in pixels, or HEIGHT,WIDTH.",
    ),
    Option(
        "channels",
        "whole",
        range=Range(1, 4096),
        panel=MODEL,
        common=True,
        help="Channels of the model's input.",
    ),
    Option(
        "mean",
        "colour",
        range=Range(-1e6, 1e6),
        panel=MODEL,
        common=True,
        help="Subtracted from images in [0,1]: 0.5, or one per channel: 0.485,0.456,0.406.",
    ),
    # Less is 0 or infinite in the arithmetic of the network.
    Option("std", "colour", range=Range(1e-6, 1e6), panel=MODEL, common=True, help="Divided by."),
    Option(
        "weights",
        choices=("ema",),
        panel=MODEL,
        help="Which weights of a checkpoint that has several: ema, their moving average.",
    ),
    Option(
        "output",
        panel=MODEL,
        help="Which output holds the logits, of a model that returns several: its name, or its "
        "number from 0.",
    ),
    Option(
        "outputs",
        default="softmax",
        choices=("softmax", "multi-label"),
        panel=MODEL,
        help="What the logits say: softmax, one of the classes; multi-label, for each output with "
        "a sigmoid of its own whether it is there.",
    ),
    Option("layer", panel=MAPS, help="Layer of Grad-CAM. Default: the last spatial one."),
    Option(
        "trust_pickle",
        "flag",
        default=False,
        panel=MODEL,
        help="Run the code in a pickled model. Only for files you made yourself.",
    ),
)
CLASS_NAMES = Option(
    "class_names",
    "path",
    panel=MODEL,
    help="What the model's classes are called: a file with one name a line, that of class 0 first, "
    "or JSON. Known of published and bundled models.",
)
_DATA = Option(
    "data",
    panel=DATA,
    shown=False,
    common=True,
    help="Folder of class folders, manifest.csv (path,label), mnist:DIR, "
    "fashion-mnist:DIR, cifar10:DIR, or generated: synthetic:hierarchy, toy:boundary-tilting; "
    "without it, bundled images.",
)
OF_FILES = (
    Option(
        "classes",
        "path",
        panel=DATA,
        common=True,
        help="File with one class folder per line; the line number is the class index, from 0.",
    ),
    Option(
        "resize",
        "whole",
        range=SIDE,
        panel=DATA,
        help="Shorter side before the centre crop. Default: 256/224 of the size.",
    ),
)
_MAX_SAMPLES = Option(
    "max_samples",
    "whole",
    range=COUNT,
    default=24,
    panel=DATA,
    common=True,
    help="Most images, drawn with the seed.",
)
SALIENCY = Option(
    "saliency",
    many=True,
    panel=MAPS,
    shown=False,
    common=True,
    help="Saliency method, repeatable; see `saliency-audit list saliency`. Default: all "
    "that the model's format allows.",
)
EXPLAIN = Option(
    "explain",
    panel=MAPS,
    common=True,
    help="A saliency method of yours, package.module:function or file.py:function, called "
    "as f(model, inputs, targets).",
)
SCALARS = Option(
    "scalar",
    many=True,
    panel=MAPS,
    shown=False,
    help="Explained number, repeatable: logit, log-prob, prob, loss, margin, centred-logit.",
)
SCALAR = Option(
    "scalar",
    default="logit",
    panel=MAPS,
    help="Explained number: logit, log-prob, prob, loss, margin, centred-logit.",
)
OF_MAPS = (
    Option(
        "target",
        default="predicted",
        choices=("predicted", "label"),
        panel=MAPS,
        help="Explained class.",
    ),
    *options_of(METHODS),
)
OF_RUN = (
    Option(
        "device", default="auto", panel=RUN, common=True, help="auto, cpu, cuda, cuda:N or mps."
    ),
    Option(
        "precision",
        default="fp32",
        choices=("fp32", "bf16"),
        panel=RUN,
        help="Arithmetic of the network.",
    ),
    Option(
        "channels_last",
        "flag",
        default=False,
        panel=RUN,
        help="Lay the weights of convolutions out channels last: faster on many CPUs; numbers "
        "change by round-off.",
    ),
    Option(
        "batch_size",
        "batch",
        range=MANY,
        default="auto",
        panel=RUN,
        help="Most images the model sees at once, noisy copies included.",
    ),
    Option(
        "seed",
        "whole",
        range=Range(0, 2**63 - 1),
        default=0,
        panel=RUN,
        help="Of every random draw.",
    ),
    Option(
        "workers",
        "whole",
        range=Range(0, max(64, 4 * (os.cpu_count() or 1))),
        default=0,
        panel=RUN,
        help="Processes that read images.",
    ),
    Option(
        "output_dir",
        "path",
        panel=RUN,
        common=True,
        help="Where the report goes. Default: saliency-audit-report/COMMAND.",
    ),
    Option(
        "format",
        default="csv",
        choices=tuple(FORMATS),
        panel=RUN,
        help="What the table of all rows is written as, results.csv or results.parquet: for "
        "millions of rows, which take a tenth of the room there (pip install "
        "'saliency-audit[parquet]'). All other tables are CSV.",
    ),
    Option(
        "resume",
        "flag",
        default=False,
        panel=RUN,
        common=True,
        help="Go on where an interrupted run stopped.",
    ),
    Option("quiet", "flag", default=False, panel=RUN, help="Print the answer only."),
    Option("debug", "flag", default=False, panel=RUN, help="Show where an error came from."),
)


def of_images(max_samples: int) -> tuple[Option, ...]:
    """The options of images, of which a command takes so many."""
    return (_DATA, *OF_FILES, replace(_MAX_SAMPLES, default=max_samples))


def given_to(options: Iterable[Option], given: Given, *, of: str = "it") -> dict[str, Any]:
    """Those of the options that were given, by the parameters that they are.

    Args:
        options: that may have been given.
        given: what was.
        of: whose they are, for messages.

    Raises:
        InputError: several values of an option that takes one here.
    """
    values = {option: getattr(given, option.name) for option in options}
    return {
        option.key: _as_taken(option, value, of)
        for option, value in values.items()
        if value is not None and value != []
    }


def _as_taken(option: Option, value: Any, of: str) -> Any:
    if not isinstance(value, list):
        return value
    if option.many:
        return tuple(value)
    if len(value) > 1:
        raise InputError(
            f"{of} takes one {option.flag}, and {len(value)} are given; leave the rest"
        )
    return value[0]


def of_methods(given: Given) -> dict[str, Any]:
    """The options of saliency methods that were given, by the names that the methods have."""
    return given_to(options_of(METHODS), given)


def refuse_idle(
    given: Given, kind: str, entries: Mapping[str, Taker], chosen: Collection[str]
) -> None:
    """Refuse an option that nothing of what was chosen takes.

    Args:
        given: the options.
        kind: the option that chooses, such as ``--metric``.
        entries: of a catalogue.
        chosen: names in it.

    Raises:
        InputError: names the option and what it is for.
    """
    for option in options_of(entries):
        value = getattr(given, option.name, None)
        if option.always:
            continue
        if value in (None, []) or (option.default is not None and option.name not in given.said):
            continue
        takers = [
            name
            for name, entry in entries.items()
            if option.name in {own.name for own in entry.options}
        ]
        if not set(takers) & set(chosen):
            raise InputError(
                f"{option.flag} is for {kind} {_either(takers)}, not {', '.join(chosen)}; "
                "leave it or ask for that"
            )


def _either(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
