import pytest
import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods.relex import log_odds, points, relex, unit_length
from saliency_audit.models import LIKELIHOOD_SCALARS, Classifier
from saliency_audit.outputs import MULTI_LABEL


class Planted(nn.Module):
    """Logit of class 1 is the mean of some pixels, beside a logit of 0."""

    def __init__(self, pixels: torch.Tensor, strength: float) -> None:
        super().__init__()
        self.register_buffer("pixels", pixels / pixels.sum() * strength)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        own = (images * self.pixels).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(own), own - 0.4 * self.pixels.sum()], dim=1)


@pytest.fixture
def planted():
    pixels = torch.zeros(1, 3, 8, 8)
    pixels[:, :, 2:5, 3:7] = 1
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.8
    return Classifier(Planted(pixels, 8.0), input_shape=(3, 8, 8)), images, pixels.bool()


FEW = {"copies": 4, "iterations": 3}


def test_it_finds_the_pixels_that_the_class_hangs_on(planted, draws):
    model, images, pixels = planted
    classes = torch.tensor([1, 1])

    mask = relex(
        model, images, classes, generators=draws("ab"), copies=6, iterations=80, sparsity=0.02
    )

    assert mask.amin() >= 0
    assert mask.amax() <= 1
    for own in mask:
        inside, outside = own[pixels[0]], own[~pixels[0]]
        assert inside.mean() > 0.3
        assert outside.max() == 0
    # It keeps the class, and what it takes away does not.
    assert model(mask * images).argmax(1).tolist() == [1, 1]
    assert model((1 - mask) * images).argmax(1).tolist() == [0, 0]


def test_a_heavy_l1_norm_leaves_nothing(cnn, images, targets, draws):
    mask = relex(cnn, images, targets, generators=draws(), copies=2, iterations=9, sparsity=1e6)

    assert torch.equal(mask, torch.zeros_like(images))


def test_a_shift_of_all_logits_changes_nothing(smooth, images, targets, draws):
    shift = torch.randn(images[0].numel(), generator=torch.Generator().manual_seed(3)).double()

    class Shifted(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, inputs):
            return self.network(inputs) + 30 * torch.sin(inputs.flatten(1) @ shift)[:, None]

    shifted = smooth.replaced(Shifted(smooth.network))
    given = (images.double(), targets)
    plain, other = (
        relex(model, *given, generators=draws(), copies=3, iterations=20)
        for model in (smooth, shifted)
    )

    torch.testing.assert_close(plain, other, rtol=0, atol=1e-10)
    assert plain.amax() > 0.02


def slowly(model, image, target, generator, *, copies, iterations, **weights):
    """The objective as it is written, differentiated in the mask by autograd as a whole."""
    sparsity, background, consistency = (
        weights.get(name, usual)
        for name, usual in (("sparsity", 1e-4), ("background", 1.0), ("consistency", 0.0))
    )
    zero, span = model.mean.double(), image.amax() - image.amin()

    def draw(function):
        return function(image.shape[1:], generator=generator).double()

    mask = 0.01 * draw(torch.rand)[None]
    speed = torch.zeros_like(mask)
    step = 0.1 * (image[0].numel() / 150528) ** 0.5

    def log_p(point):
        return model(point).log_softmax(1)[:, target].sum()

    def slope(point):
        return torch.autograd.grad(log_p(point), point, create_graph=True)[0]

    for _ in range(iterations):
        mask = mask.detach().requires_grad_()
        loss = sparsity * mask.sum()  # the L1 norm, where masks are
        clean = slope(zero + mask * (image - zero)) if consistency else 0
        for _ in range(copies):
            away = image + 0.1 * span * draw(torch.randn) - zero
            loss = loss - log_p(zero + mask * away) / copies
            rest = -torch.expm1(log_p(zero + (1 - mask) * away))
            loss = loss - background * rest.log() / copies
            if consistency:
                gap = slope(zero + mask * away) - clean
                loss = loss + consistency * gap.norm() / copies
        (gradient,) = torch.autograd.grad(loss, mask)
        speed = 0.99 * speed + gradient / gradient.norm()
        mask = (mask - step * speed).clamp(0, 1)
    return mask.detach()


@pytest.mark.parametrize("batch_size", [None, 1, 5])
@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"sparsity": 0.1, "background": 0.3},
        {"consistency": 2.0},
        {"background": 0.0, "sparsity": 0.0, "consistency": 5.0},
    ],
)
def test_it_is_descent_of_the_objective(smooth, images, targets, draws, weights, batch_size):
    images = images.double()
    seeds = draws()

    mask = relex(
        smooth, images, targets, generators=draws(), batch_size=batch_size, **FEW, **weights
    )

    for i, seed in enumerate(seeds):
        expected = slowly(smooth, images[i : i + 1], targets[i], seed, **FEW, **weights)
        torch.testing.assert_close(mask[i : i + 1], expected, rtol=0, atol=1e-9)


def test_a_network_that_is_sure_still_has_a_gradient(planted, draws):
    model, images, pixels = planted
    # 1 - p of the whole image is 1e-260: nothing, in any floating-point number beside 1.
    sure = model.replaced(Planted(pixels.float(), 1200.0))

    mask = relex(sure, images, torch.tensor([1, 1]), generators=draws("ab"), copies=3)

    assert mask.isfinite().all()
    assert all(own[pixels[0]].mean() > 10 * own[~pixels[0]].mean() for own in mask)


def test_a_network_that_sees_nothing_leaves_the_mask(planted, draws):
    model, images, pixels = planted
    blind = model.replaced(Planted(pixels.float(), 0.0))

    start = relex(blind, images, torch.tensor([1, 1]), generators=draws("ab"), sparsity=0.0)

    first = torch.stack([0.01 * torch.rand(3, 8, 8, generator=seed) for seed in draws("ab")])
    torch.testing.assert_close(start, first)


def test_the_explained_scalar_changes_nothing(cnn, images, targets, draws):
    maps = [
        relex(cnn, images, targets, generators=draws(), scalar=scalar, **FEW)
        for scalar in ("logit", "log-prob", "loss")
    ]

    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


def test_the_step_is_as_long_for_each_value_of_a_small_image(draws):
    def moved(side):
        # A network that pulls at all values alike.
        pixels = torch.ones(1, 3, side, side)
        model = Classifier(Planted(pixels, 1.0), input_shape=(3, side, side))
        image = torch.full((1, 3, side, side), 0.5)
        mask = relex(model, image, torch.tensor([1]), generators=draws("a"), copies=1)
        return float(mask.mean())

    assert moved(4) == pytest.approx(moved(32), rel=0.02)


def test_the_log_odds_are_those_of_the_probability():
    logits = torch.tensor([[1.0, -2.0, 0.5], [80.0, 0.0, 3.0]]).double()
    classes = torch.tensor([1, 2])
    network = nn.Flatten()

    plain = Classifier(network, input_shape=(1, 1, 3))
    p = logits.softmax(1)[torch.arange(2), classes]
    torch.testing.assert_close(log_odds(plain, logits, classes), p.log() - (1 - p).log())
    # Exact where 1 - p is 0 in float64.
    expected = 80 - torch.tensor([0.0, 3.0]).double().logsumexp(0)
    torch.testing.assert_close(log_odds(plain, logits[1:], torch.tensor([0]))[0], expected)

    likely = plain.replaced(network, scalars=LIKELIHOOD_SCALARS)
    logs = logits.log_softmax(1)
    torch.testing.assert_close(log_odds(likely, logs, classes), p.log() - (1 - p).log())

    each = plain.replaced(network, outputs=MULTI_LABEL)
    torch.testing.assert_close(log_odds(each, logits, classes), logits[[0, 1], [1, 2]])


def test_of_one_output_the_log_odds_are_its_logit(draws):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).eval()
    model = Classifier(network, input_shape=(1, 2, 2))
    images = torch.rand(3, 1, 2, 2)
    model.check(images)
    classes = torch.tensor([1, 0, 1])

    odds = log_odds(model, model(images), classes)

    logit = network(images)[:, 0].double()
    torch.testing.assert_close(odds, torch.where(classes == 1, logit, -logit))


def test_what_cannot_be_differentiated_is_refused(cnn, images, targets, draws):
    with pytest.raises(UnsupportedError, match="relex cannot be differentiated"):
        relex(cnn, images, targets, generators=draws(), graph=True)


@pytest.mark.parametrize("consistency", [0.0, 0.5])
def test_its_passes_are_known_beforehand(cnn, images, targets, draws, consistency):
    relex(cnn, images, targets, generators=draws(), consistency=consistency, **FEW)

    assert cnn.passes == 4 * points(**FEW, consistency=consistency)


def test_the_smallest_gradient_has_a_direction():
    values = torch.tensor([1e-40, 0.0]).double().view(1, 2, 1, 1)

    assert unit_length(values).flatten().tolist() == [1.0, 0.0]
    assert torch.equal(unit_length(values * 0), values * 0)
