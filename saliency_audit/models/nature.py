"""Whether a model is a function of one image that can be differentiated, as every audit assumes."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from saliency_audit.models.classifier import Classifier
from saliency_audit.models.files import one_line
from saliency_audit.models.gradients import differentiating
from saliency_audit.models.surrogates import Kind, surrogate
from saliency_audit.outputs import MULTI_LABEL, SOFTMAX

SAME = 0.5
"""Nats between the log-probabilities of two images: less is hardly any. Of the bundled network, 10
between eight images of one class; of networks before any training, mostly under 0.1."""
TRIED = 8
"""Images that a model is tried on."""
REPEATED = 1e-4
"""Largest change of an output, over the largest output, that is round-off in a repeated pass."""
BESIDE = {"cpu": 1e-3, "other": 1e-2, "half": 5e-2}
"""The same in a batch of another size, for which a device may compute in another order."""


@dataclass(frozen=True)
class Nature:
    """What kind of function a model is, as far as a few images tell.

    Attributes:
        images: that were tried.
        repeated: largest change of an output when the same images are seen again, over the
            largest output.
        beside: the same when other images are beside them, in a batch of another size.
        random: whether the first is more than round-off.
        batch_dependent: whether the second is, and the model is not random.
        probabilities: whether every row is one of probabilities.
        outputs: name of how they are read.
        excluding: whether outputs that are said not to exclude each other add up to 1 on every
            image, as those of a softmax do.
        no_gradient: images in which the gradient of the predicted class is exactly 0, or has none.
        reason: why, where that is known.
        spread: largest difference of a class's log-probability between two of the images; None
            where they are all the same image.
    """

    images: int
    repeated: float = 0.0
    beside: float = 0.0
    random: bool = False
    batch_dependent: bool = False
    probabilities: bool = False
    outputs: str = SOFTMAX.name
    excluding: bool = False
    no_gradient: int = 0
    reason: str = ""
    spread: float | None = None

    def refused(self, name: str) -> str:
        """Why a model of that name cannot be audited, in one line; empty where it can."""
        if self.random:
            return (
                f"{name} gives the same images another answer each time (outputs differ by "
                f"{self.repeated:.0%} of the largest): something in it is random although "
                "model.eval() was called, such as F.dropout without training=self.training; "
                "take that out"
            )
        if self.batch_dependent:
            return (
                f"{name} gives an image another answer when other images are beside it (outputs "
                f"differ by {self.beside:.0%} of the largest), as batch statistics do: call "
                "model.eval() before it is traced or exported, and give batch normalisation its "
                "running statistics"
            )
        if self.excluding:
            return (
                f"the outputs of {name} add up to 1 on every image, as those of a softmax do, so "
                f"they exclude each other; leave --outputs {self.outputs}"
            )
        return ""

    def notes(self, name: str) -> list[str]:
        """Lines for the user of a model of that name."""
        lines = []
        if self.outputs == MULTI_LABEL.name:
            lines += _of_multi_label(name, probabilities=self.probabilities)
        elif self.probabilities:
            lines.append(
                f"{name} returns probabilities: their logarithm is taken for the logits, no second "
                "softmax; files made of it return probabilities, too"
            )
        if self.no_gradient:
            which = (
                "no gradient of its output reaches the image"
                if self.no_gradient == self.images
                else f"the gradient is 0 in {self.no_gradient} of the first {self.images} images"
            )
            why = f" ({self.reason})" if self.reason else ""
            lines.append(f"WARNING: {name}: {which}{why}; maps made of gradients say nothing there")
        if self.spread is not None and self.spread < SAME:
            lines.append(
                f"WARNING: {name}: its output hardly depends on the image (log-probabilities of "
                f"the first {self.images} differ by {self.spread:.1g} at most), as without "
                "training: are its weights loaded, and its mean and std right?"
            )
        return lines


def nature(model: Classifier, images: Tensor) -> Nature:
    """Try a model on a few images: two passes beside the one that gradients take.

    Args:
        model: the classifier; stays as it is.
        images: ``(n, c, h, w)`` in [0, 1], n >= 1; `TRIED` of them are enough.

    Returns:
        What was found. Of a single image the negative is tried, too.
    """
    count = len(images)
    if count == 1:
        images = torch.cat([images, 1 - images])
    grey = torch.full_like(images[:1], 0.5)
    some = max(1, count // 2)
    with model.audited():
        with torch.no_grad():
            first = model(images)
            # Other neighbours, and with more than two images another number of them.
            among_others = model(torch.cat([images[:some], grey]))
        half = model.coarse is not None
        rows = torch.cat([first, among_others])
        loose, outputs = 2e-2 if half else 1e-4, model.outputs
        shown = outputs.probabilities(rows) if model.probabilities else rows
        known = model.probabilities or (model.ends_linear and not outputs.exclusive)
        if probabilities := not known and outputs.are_probabilities(rows, loose=loose):
            model = model.replaced(model.network, probabilities=True).eval()
            model.requires_grad_(False)
        again, gradients, reason = _differentiated(model, images)
    again = outputs.probabilities(again) if probabilities else again
    repeated, beside = _change(again, first), _change(among_others[:some], first[:some])
    random = repeated > (REPEATED * 10 if half else REPEATED)
    device = "cpu" if images.device.type == "cpu" else "other"
    without = 0
    if gradients is None:
        without = count
    elif without := int((gradients.flatten(1) == 0).all(1)[:count].sum()):
        odds = model.probabilities and not probabilities and not outputs.exclusive
        seen = outputs.probabilities(again) if odds else again
        reason = _why_zero(seen, gradients, model, count)
    return Nature(
        count,
        repeated,
        beside,
        random=random,
        batch_dependent=not random and beside > BESIDE["half" if half else device],
        probabilities=model.probabilities if not outputs.exclusive else probabilities,
        outputs=outputs.name,
        excluding=not outputs.exclusive and SOFTMAX.are_probabilities(shown, loose=loose),
        no_gradient=without,
        reason=reason,
        spread=_spread(first.log() if probabilities else first, images),
    )


def _spread(logits: Tensor, images: Tensor) -> float | None:
    if bool((images == images[:1]).all()):
        return None
    likelihoods = logits.double().log_softmax(1)
    return float((likelihoods.amax(0) - likelihoods.amin(0)).max())


def follows(
    model: Classifier, images: Tensor, classes: Tensor, *, smooth: Kind | None, beta: float = 30.0
) -> bool:
    """Whether an attack can follow the gradient map: whether it has a derivative where it changes.

    False where the gradient of the difference of two logits is another one in another image, and
    yet has a derivative of 0 in every pixel, stand-ins included: piecewise linear parts in whose
    place nothing smooth was put. True of a linear network, whose map is the same everywhere.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1], n >= 1; two are looked at, or one and its negative.
        classes: ``(n,)``; the first one is looked at, beside the strongest other.
        smooth: kind of the stand-in; None for none.
        beta: of the stand-in.

    Raises:
        UnsupportedError: the model holds TorchScript, and ``smooth`` is not None.
    """
    pair = images[:2] if len(images) > 1 else torch.cat([images, 1 - images])
    context = nullcontext() if smooth is None else surrogate(model, smooth, beta=beta)
    with context, differentiating(pair, graph=True) as pixels:
        logits = model(pixels)
        others = logits.detach().clone()
        others[:, classes[0]] = -torch.inf
        # No softmax shows in a difference: it is curved, but no kink of the network is in it.
        difference = logits[:, classes[0]] - logits[:, others[0].argmax()]
        if not difference.requires_grad:
            return True
        (gradients,) = torch.autograd.grad(
            difference.sum(), pixels, create_graph=True, allow_unused=True, materialize_grads=True
        )
        total = gradients.square().sum()
        if total.requires_grad:
            (second,) = torch.autograd.grad(
                total, pixels, allow_unused=True, materialize_grads=True
            )
            # What is left of derivatives that cancel: those of a softmax do in the difference.
            if _size(second) > 1e-5 * _size(gradients.detach()) ** 2:
                return True
    gradients = gradients.detach()
    return not _size(gradients[0] - gradients[1]) > 1e-4 * _size(gradients)


def _size(values: Tensor) -> float:
    return float(values.double().norm())


def _of_multi_label(name: str, *, probabilities: bool) -> list[str]:
    """What is taken for granted of outputs with a sigmoid each."""
    lines = [
        f"{name} is multi-label: each output has its own sigmoid, the explained one is the "
        "likeliest unless --target says otherwise, and a prediction is the set of outputs above "
        "one half; prediction-kept means that set"
    ]
    if probabilities:
        lines.append(
            f"{name} returns numbers from 0 to 1, probabilities after their sigmoids: their "
            "log-odds are taken for the logits, no second sigmoid; files made of it return "
            "probabilities, too"
        )
    return lines


def _change(values: Tensor, before: Tensor) -> float:
    """Largest change over the largest value; a value that stays infinite or NaN has not changed."""
    same = (values == before) | (values.isnan() & before.isnan())
    change = (values - before).abs().where(~same, 0).nan_to_num(torch.inf)
    size = float(before[before.isfinite()].abs().max()) if before.isfinite().any() else 0.0
    most = float(change.max())
    return most / size if size else most


def _differentiated(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor | None, str]:
    """Output, gradient of the predicted classes in the images, and why there is none."""
    with differentiating(images, graph=False) as pixels:
        logits = model(pixels)
        if not logits.requires_grad:
            reason = "its forward pass cuts the graph: detach, no_grad, or steps of whole numbers"
            return logits.detach(), None, reason
        try:
            (gradients,) = torch.autograd.grad(
                model.strongest(logits).sum(), pixels, allow_unused=True, materialize_grads=True
            )
        except (RuntimeError, NotImplementedError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return logits.detach(), None, one_line(error)
    return logits.detach(), gradients.detach(), ""


def _why_zero(outputs: Tensor, gradients: Tensor, model: Classifier, count: int) -> str:
    zero = (gradients.flatten(1) == 0).all(1)[:count]
    if model.probabilities:
        top = outputs[:count][zero].amax(1)
        if model.outputs.exclusive and bool((top == 1).all()):
            return "there a probability is rounded to 1; give the model without its softmax"
        if not model.outputs.exclusive and bool(((top == 0) | (top == 1)).all()):
            return "there a probability is rounded to 0 or 1; give the model without its sigmoids"
    if bool(zero.all()):
        return "something in it rounds, compares or takes the sign"
    return ""
