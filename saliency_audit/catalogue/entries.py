"""What is known of a capability: where its code is, what it takes, what its numbers mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from math import inf
from typing import Any, Literal

from saliency_audit.options import Option

Code = str | Callable[..., Any]
"""Where a function is within this package, ``methods.gradient:gradient``, or the function."""


def function_of(code: Code) -> Callable[..., Any]:
    """The function, imported when it is asked for: what is known of it needs no torch."""
    return _imported(code) if isinstance(code, str) else code


@cache
def _imported(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"saliency_audit.{module}"), name)
    return found


class Coded:
    """What stands for a function."""

    code: Code

    @property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        return function_of(self.code)


@dataclass(frozen=True)
class SaliencyMethod(Coded):
    """A saliency method and what the rest of the tool must know about it.

    Attributes:
        code: ``(model, images, targets, *, scalar, graph, generators, batch_size, **options)
            -> (n, c, h, w)`` or ``(n, 1, h, w)``.
        summary: one line, for ``saliency-audit list``.
        differentiable: whether ``graph=True`` works.
        signed: whether maps have both signs; decides the colours they are drawn in.
        control: depends on no model; every other method is compared with it.
        stochastic: uses the generators.
        parity: what the map of -s is, given that of s: 1 the same, -1 its negative, 0 neither.
            Spares computing the map of the loss where that of the log-probability is known.
        recorded: maps were made elsewhere and cannot be made again.
        why_zero: ``(model, image, target, *, scalar) -> str``, why the map of one image is zero
            everywhere, where the method can tell.
        options: what a user can set of it.
        needs: of the run, what must be trained or given first: "masker". A method with such a
            need is used only where it is asked for by name.
        takes: of the run, what that can be made from: "train".
        passes: through the network, of each image and of each call; of a method that looks at
            points, its options say how many.
        points: ``(**options) -> int``, how many points a map looks at, from its options beside
            their defaults; None where that is one of them, ``samples`` or ``steps``.
    """

    code: Code
    summary: str
    differentiable: bool = True
    signed: bool = True
    control: bool = False
    stochastic: bool = False
    parity: Literal[-1, 0, 1] = 0
    recorded: bool = False
    why_zero: Code | None = None
    options: tuple[Option, ...] = ()
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    passes: tuple[int, int] = (1, 0)
    points: Code | None = None


@dataclass(frozen=True)
class Check:
    """A measured quantity, by the name it has in every file, policy and option.

    Attributes:
        code: computes it, batch first, one value per image; None where only a `Metric` does.
        summary: one line, for ``saliency-audit list``.
        higher_is_better: direction; None where neither end is better.
        bounds: smallest and largest value it can take.
        source: paper and equation.
        chance: what a map without information gets: a number, ``1/classes``, the name of the key
            of ``setting`` that holds it (``top``), or nothing where it is not known beforehand.
        proportion: whether it is 0 or 1 for each image.
        axes: of its curve, what stands along and what stands up; empty for what has none.
    """

    code: Code | None
    summary: str
    higher_is_better: bool | None
    bounds: tuple[float, float]
    source: str
    chance: str = ""
    proportion: bool = False
    axes: tuple[str, str] | tuple[()] = ()

    @property
    def function(self) -> Any:
        """The function itself, if there is one."""
        return None if self.code is None else function_of(self.code)


@dataclass(frozen=True)
class Metric(Coded):
    """What `evaluate` can be asked for: one function that measures one or several checks.

    Attributes:
        code: ``(view, **options) -> list[Measured]``; its keyword-only parameters are the
            options of the command and of a policy.
        of: "map" reads the maps alone, "method" explains again (no map from a file will do),
            "model" reads no map of the run, "training" trains networks anew on what the maps of a
            method leave of the images: its ``code`` is ``(bench, **options) -> list[Measured]``,
            and its values are of trainings, not of images. "samples" makes images with the model:
            its ``code`` is ``(drawn, **options) -> Sampled``, and its values are of those.
        checks: what it measures, by name. The one of the metric's own name is its answer.
        verdict: how the answer becomes a word: "random" compares it with the random map on the
            same images, "half" asks whether it is on the better side of one half (where neither
            all nor nothing of the map is what the metric asks for), None gives none.
        says: what "half" shows of a map and of several, such as "depends on the model".
        needs: of the view, what may be missing: "labels", "other", "annotations", "train".
        takes: of the view, what it can do without: "judge".
        networks: that are trained anew for it, of `training.networks`.
        answer: what the setting of the answer holds; the others are stages on the way to it.
        controls: checks that the answer says nothing without: shown wherever it is, too.
        options: what a user can set of it.
        exclusive: whether it means something only where one class is right and the others are not:
            outputs with a sigmoid each have none of it.
        scores: whether it looks at changed images without a gradient, by `Classifier.scores`.
        check: ``(shape, classes, **options)``, refuses options that mean nothing on images of a
            shape ``(c, h, w)`` and a model of so many classes; None where ranges say it all.
    """

    code: Code
    of: Literal["map", "method", "model", "training", "samples"]
    checks: Mapping[str, Check]
    verdict: Literal["random", "half"] | None = None
    says: tuple[str, str] = ("", "")
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    answer: str = ""
    controls: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    exclusive: bool = False
    scores: bool = False
    check: Code | None = None

    def refuse(self, shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> None:
        """Refuse options before anything is measured.

        Raises:
            InputError: one of them means nothing.
        """
        if self.check is not None:
            function_of(self.check)(shape, classes, **options)


CALIBRATION = 64
"""Images that the strength of a trick is set by."""


@dataclass(frozen=True)
class Variant:
    """A trick with its options: what it is called and what it promises.

    Attributes:
        setting: the trick and its options, as ``results.csv`` writes them.
        promises: by check, the largest value of any image; of prediction-kept the smallest.
        edits: the part of the network whose weights it changes, one of its trick's ``edits``;
            empty for what adds a layer.
        images: most images that it is given to be set by.
        likelihoods: whether its output is log-likelihoods that a softmax would undo.
        aim: what the maps shall show, a name in ``AIMS``.
        patch: ``(shape) -> (images -> images)``, lays the patch that sets it off on images; None
            for what needs none. The model is then measured on images with the patch and without,
            and the given one on those with it.
    """

    setting: str
    promises: Mapping[str, float]
    edits: str = ""
    images: int = CALIBRATION
    likelihoods: bool = False
    aim: str = "picture"
    patch: Callable[[tuple[int, int, int]], Callable[..., Any]] | None = None

    @property
    def settings(self) -> tuple[str, ...]:
        """What its rows are of: the manipulated model, without and with a patch, and the patch."""
        if self.patch is None:
            return (self.setting,)
        trick, _, options = self.setting.partition(";")
        return tuple(f"{trick};on={images};{options}" for images in ("clean", "patch", "control"))


@dataclass(frozen=True)
class Aim(Coded):
    """What a map shall show after a manipulation, beside before.

    Attributes:
        code: ``(map, wanted) -> (n,)``, what weights are trained by; lower is more of it.
            ``map`` is ``(n, h, w)``, magnitude, stretched to [0, 1].
        wanted: ``(picture, before, other class) -> (n, h, w)``, from the picture and the given
            model's maps of the explained and of the second likeliest class.
        check: says how far a map shows it, of magnitude and what is wanted.
        reached: value of the check from which the map is forged.
        weight: of ``code`` beside the cross-entropy, unless another is given.
        says: what is wanted, and what the check is.
        short: the check, in a caption.
        drawn: whether what is wanted can be looked at.
        swaps: whether the second likeliest class shall have the map of the explained one.
    """

    code: Code
    wanted: Code
    check: str
    reached: float
    weight: float
    says: str
    short: str = "cos"
    drawn: bool = True
    swaps: bool = False


@dataclass(frozen=True)
class Trick(Coded):
    """A manipulation of the model that keeps its predictions.

    Attributes:
        code: builds the manipulated network.
        variant: ``(**options) -> Variant``, with the same options.
        summary: one line, for ``saliency-audit list``.
        source: paper and section.
        options: what a user can set of it, beside strength and picture.
        edits: parts of the network that some of its variants change, adding no layer; these can
            be saved as weights of the same architecture, in files of their own name.
        gradient_bound: ``(network, std)``, the most that the L1 norm of the loss gradient can
            change; None where nothing is promised about it.
        exclusive: whether it can be played only where classes exclude each other.
        trains: whether it trains the weights: ``code`` takes ``fit`` too (see
            ``commands.fool.lesson``), and it is played only when asked for.
    """

    code: Code
    variant: Code
    summary: str
    source: str
    options: tuple[Option, ...] = ()
    edits: tuple[str, ...] = ()
    gradient_bound: Code | None = None
    exclusive: bool = False
    trains: bool = False

    def with_options(self, options: Mapping[str, Any]) -> Variant:
        """What it is called and what it promises with these options."""
        made: Variant = function_of(self.variant)(**options)
        return made


@dataclass(frozen=True)
class Goal(Coded):
    """What an attack wants of a map, apart from how it searches.

    Attributes:
        code: ``(map, reference, **options) -> (n,)``, lower is more of it; differentiable.
            ``map`` is ``(n, h, w)``, magnitude, adding up to 1.
        wants: what the reference is: the "clean" map, a "region" (``(n, h, w)`` in [0, 1]), or
            another "map" that adds up to 1.
        criterion: likewise, not differentiable: what the best image is chosen by; None means
            ``code``.
        floor: least value of the criterion, at which nothing is left to search for.
    """

    code: Code
    wants: Literal["clean", "region", "map"] = "clean"
    criterion: Code | None = None
    floor: float = -inf

    @property
    def chooses(self) -> Callable[..., Any]:
        """The function that the best image is chosen by."""
        return function_of(self.criterion or self.code)


@dataclass(frozen=True)
class Search(Coded):
    """How an attack on maps looks for an image.

    Attributes:
        code: as that of an `Attack`.
        options: what a user can set of it.
    """

    code: Code
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Attack(Coded):
    """A change of the image within a budget.

    Attributes:
        code: the search, ``(model, explain, aim, images, targets, *, eps, steps, step_size,
            generators, **options) -> images``.
        summary: one line, for ``saliency-audit list``.
        source: paper and section.
        goal: None for what does not aim at maps.
        aim: the check that says how near a map has come to what is wanted; empty where that is to
            be unlike the clean one.
        sentence: what it does, after its name.
        defaults: of the search, where they differ from its own.
        budgeted: whether it needs a budget.
        options: what a user can set of it, beside the budget.
    """

    code: Code
    summary: str
    source: str
    goal: Goal | None = None
    aim: str = ""
    sentence: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    budgeted: bool = True
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Objective(Coded):
    """What a classifier can be trained for.

    Attributes:
        code: ``(step, **options) -> Loss``; its keyword-only parameters are the options of
            the command.
        summary: one line, for ``saliency-audit list``.
        source: paper and equation.
        needs: of the step, what may be missing: "annotations", "targets" (a teacher's maps).
        smooth: whether it means nothing for piecewise linear networks, so that activations are
            replaced by softplus unless told otherwise.
        options: what a user can set of it.
    """

    code: Code
    summary: str
    source: str
    needs: tuple[str, ...] = ()
    smooth: bool = False
    options: tuple[Option, ...] = ()
