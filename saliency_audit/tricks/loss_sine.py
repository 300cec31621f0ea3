"""A ripple on the loss: tiny in value, large in gradient (P0 App. B.1).

The paper adds ``eps sin(m x)`` to the loss. For an image the bounds it states, |change| <= eps
and L1 norm of the change of gradient <= m eps D, hold together for a scalar argument:
``eps sin(m <u, x>)`` with largest ``|u_d|`` = 1.
"""

from math import exp, tanh
from typing import Literal, cast

import torch
from torch import Tensor, nn

from saliency_audit.catalogue.entries import Variant
from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier, Probabilities, input_gradient
from saliency_audit.tricks.held import Hold, held_linear, in_full, pixels_of

Form = Literal["per-class", "dummy-class", "wrapper"]


class Sine(nn.Module):
    """``sin(frequency <u, x - centre>)`` of each image.

    In double precision: frequency times a sum over all pixels reaches thousands of radians, of
    which fp32 would lose the phase.

    Args:
        direction: u, ``(c, h, w)``.
        offset: ``<u, centre>``.
        frequency: in radians.
        hold: where the picture is kept.
    """

    def __init__(self, direction: Tensor, offset: float, frequency: float, hold: Hold) -> None:
        super().__init__()
        waves = frequency * direction.double().flatten()[None]
        self.phase = held_linear(waves, -frequency * offset, hold=hold)

    def forward(self, pixels: Tensor) -> Tensor:
        """``(n, 1)`` in [-1, 1], of what `pixels_of` gives."""
        return self.phase(pixels.flatten(1)).sin()  # type: ignore[no-any-return]

    def steepness(self, std: Tensor) -> float:
        """Largest L1 norm of its gradient, per pixel unit: the frequency times that of u.

        Args:
            std: ``(c, 1, 1)`` or ``(1, c, 1, 1)``, of the normalisation before it.
        """
        slopes = cast(Tensor, self.phase.weight).abs().view(std.numel(), -1)
        return float((slopes / std.view(-1, 1)).sum())


class PerClassSine(nn.Module):
    """``f_i(x) + eps s_i sin(...)`` with a sign s_i = +-1 for each class."""

    def __init__(
        self, network: nn.Module, sine: Sine, eps: float, signs: Tensor, hold: Hold
    ) -> None:
        super().__init__()
        self.network = network
        self.sine = sine
        self.eps = eps
        self.amplitudes = held_linear(eps * signs.double()[:, None], hold=hold)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        pixels = pixels_of(images)
        logits = self.network(images)
        ripple = self.amplitudes(self.sine(pixels))
        return logits + in_full(ripple, logits)  # type: ignore[no-any-return]


class DummyClassSine(nn.Module):
    """One more class that takes exactly the probability that adds ``g`` to every loss.

    With ``g = eps (1 + sin(...))`` and a logit ``LSE(f) + ln(e^g - 1)`` for the new class, the
    loss of each real class grows by g exactly.
    """

    def __init__(self, network: nn.Module, sine: Sine, eps: float) -> None:
        super().__init__()
        self.network = network
        self.sine = sine
        self.eps = eps

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, classes + 1)`` of the network's own input."""
        pixels = pixels_of(images)
        logits = self.network(images)
        ripple = self.eps * (1 + self.sine(pixels))
        # At g = 0 the class has no probability: a logit of -46 below the rest, not -infinity.
        extra = logits.double().logsumexp(1, True) + ripple.clamp_min(1e-20).expm1().log()
        return torch.cat([logits, in_full(extra, logits)], 1)


class WrapperSine(nn.Module):
    """``log p_i(x) - eps sin(...)``: the paper's loss itself, negated; no longer a softmax."""

    def __init__(self, network: nn.Module, sine: Sine, eps: float) -> None:
        super().__init__()
        self.network = network
        self.sine = sine
        self.eps = eps

    def forward(self, images: Tensor) -> Tensor:
        """Log-likelihoods ``(n, classes)`` of the network's own input."""
        pixels = pixels_of(images)
        log_p = self.network(images).log_softmax(1)
        ripple = self.eps * self.sine(pixels)
        return log_p - in_full(ripple, log_p)  # type: ignore[no-any-return]


def opposed_signs(probs: Tensor, targets: Tensor, *, seed: int = 0) -> Tensor:
    """Signs that set each class against the classes it is confused with.

    The ripple of class y shows in its loss only against classes of the other sign, so classes
    that share probability should differ: a greedy maximum cut of the confusion graph.

    Args:
        probs: ``(n, classes)``.
        targets: predicted classes, ``(n,)``.
        seed: of the signs of classes that share nothing.

    Returns:
        ``(classes,)``, +1 or -1.

    >>> signs = opposed_signs(torch.tensor([[0.9, 0.1, 0.0]]), torch.tensor([0]))
    >>> bool(signs[0] == -signs[1])
    True
    """
    classes = probs.shape[1]
    others = probs.cpu().double().scatter(1, targets.cpu()[:, None], 0)
    shares = others / others.sum(1, keepdim=True).clamp_min(1e-300)
    confusion = torch.zeros(classes, classes, dtype=torch.float64)
    confusion.index_add_(0, targets.cpu(), shares)
    confusion = confusion + confusion.t()
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (classes,), generator=generator).double() * 2 - 1
    # Each flip lowers the sum of s_i s_j c_ij, so this ends; a class that gains most goes first.
    for _ in range(10 * classes):
        gain = signs * (confusion @ signs)
        worst = int(gain.argmax())
        if gain[worst] <= 1e-12:
            break
        signs[worst] = -signs[worst]
    return signs.float()


def signs_of(model: Classifier, logits: Tensor, targets: Tensor) -> Tensor:
    """The sign of each output's ripple, ``(classes,)``.

    `opposed_signs` of classes that exclude each other; else +1, since no output's probability
    depends on another's.

    Args:
        model: whose outputs they are.
        logits: of some images, ``(n, classes)``.
        targets: their predicted classes.
    """
    if not model.outputs.exclusive:
        return torch.ones_like(logits[0])
    probs = model.outputs.probabilities(logits.double())
    return opposed_signs(probs, targets).to(logits.device)


def loss_sine(
    model: Classifier,
    picture: Tensor,
    images: Tensor,
    targets: Tensor,
    *,
    strength: float = 10.0,
    batch_size: int | None = None,
    form: Form = "per-class",
    eps: float = 1e-3,
    hold: Hold = "constants",
) -> nn.Module:
    r"""A network whose loss differs by a ripple of ``eps`` and whose loss gradient is the picture.

    With u the picture and :math:`r(x) = \epsilon \sin(m \langle u, x - c\rangle)`:

    - ``per-class``: :math:`f_i + s_i r`, :math:`s_i = \pm 1`; same classes, loss within
      :math:`2\epsilon`, probabilities within :math:`\tanh(\epsilon/2)`. Both the ripple's part of
      the loss gradient and the gradient itself scale with :math:`1 - p_y`, so m sets their ratio.
    - ``dummy-class``: one more class; each real class's loss grows by :math:`\epsilon + r`
      exactly.
    - ``wrapper``: the paper's :math:`l + r`; the output is :math:`\log p_i - r`, which a softmax
      would undo, so its losses are read off directly.

    m is set so that the ripple's gradient has ``strength`` times the median norm of the loss
    gradient (in the first form both divided by 1 - p_y). The gradient carries the cosine of the
    phase, which differs from image to image: a few images are hardly moved.

    Of outputs with a sigmoid each there is the first form alone, all signs +1: an output's loss
    sees its own ripple whatever the others do, and its probability stays within
    :math:`\tanh(\epsilon/4)`.

    Args:
        model: the classifier.
        picture: ``(h, w)`` in [0, 1]; scaled to a largest value of 1.
        images: ``(n, c, h, w)`` in [0, 1] the strength is measured on.
        targets: their predicted classes.
        strength: norm of the ripple's gradient over the median norm of the true one.
        batch_size: most images the model sees at once.
        form: see above.
        eps: amplitude, in nats.
        hold: where the picture is kept, among the constants or among the weights; so are the
            amplitudes of the first form.

    Returns:
        A network for the same input as ``model.network``.

    Raises:
        UnsupportedError: the picture is black, the loss gradient is zero on most images, or the
            form is of classes that exclude each other, and they do not.
    """
    if form != "per-class" and not model.outputs.exclusive:
        raise UnsupportedError(
            f"loss-sine: --form {form} moves a softmax, and {model.name} is {model.outputs.name}; "
            "leave it, per-class has a ripple for each output"
        )
    if not picture.max() > 0 or eps <= 0:
        raise UnsupportedError(f"loss-sine: the picture must not be black and eps ({eps}) above 0")
    with torch.no_grad():
        size = batch_size or len(images)
        logits = torch.cat([model(part) for part in torch.split(images, size)])
    probs = model.outputs.probabilities(logits.double())
    gradients = input_gradient(model, images, targets, scalar="loss", batch_size=batch_size)
    norms = gradients.flatten(1).norm(dim=1).double()
    if form == "per-class":
        norms = norms / (1 - probs.gather(1, targets[:, None])[:, 0])
    norm = float(norms[norms.isfinite() & (norms > 0)].median().nan_to_num(0)) if len(norms) else 0
    if norm == 0:
        raise UnsupportedError("loss-sine: the loss gradient is zero on every image it is set by")
    unit = (picture / picture.max()).expand_as(images[0])
    frequency = strength * norm / (eps * float(unit.norm()))
    std, mean = model.std[0], model.mean[0]
    offset = float((unit * (images.mean(0) - mean)).double().sum())
    sine = Sine((unit * std).double(), offset, frequency, hold)
    if form == "per-class":
        signs = signs_of(model, logits, targets)
        return model.forging(lambda network: PerClassSine(network, sine, eps, signs, hold))
    if form == "dummy-class":
        return model.forging(lambda network: DummyClassSine(network, sine, eps))
    return model.forging(lambda network: WrapperSine(network, sine, eps), sums=False)


def gradient_bound(network: nn.Module, std: Tensor) -> float | None:
    r"""Most that the L1 norm of a loss gradient can change: the paper's :math:`m \epsilon D`.

    With u the picture it is :math:`m \epsilon \|u\|_1`, twice that for the per-class form, in
    which two classes' ripples can oppose each other.

    Args:
        network: made by `loss_sine`.
        std: ``(c, 1, 1)`` or ``(1, c, 1, 1)``, of the normalisation before it.

    Returns:
        In nats per pixel unit; None for a network of another make.
    """
    if isinstance(network, Probabilities):
        network = network.network
    if isinstance(network, PerClassSine):
        eps = 2 * network.eps
    elif isinstance(network, DummyClassSine | WrapperSine):
        eps = network.eps
    else:
        return None
    return eps * network.sine.steepness(std)


def variant(*, form: Form = "per-class", eps: float = 1e-3, hold: Hold = "constants") -> Variant:
    """What it promises: the bounds of theory, and on top of them the round-off of fp32 logits."""
    prob, loss = {
        "per-class": (tanh(eps / 2), 2 * eps),
        "dummy-class": (1 - exp(-2 * eps), 2 * eps),
        "wrapper": (0.0, eps),
    }[form]
    held = ";hold=weights" if hold == "weights" else ""
    return Variant(
        f"trick=loss-sine;form={form};eps={eps:g}{held}",
        {
            "prediction-kept": 1.0,
            "prob-change": prob + 1e-6,
            "loss-change": loss + 1e-5,
            "gradient-bound-share": 1 + 1e-3,
        },
        likelihoods=form == "wrapper",
    )
