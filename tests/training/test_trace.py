"""Estimators of the Hessian's trace against closed forms and exact Hessians."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from saliency_audit.training.step import Step, of_labels, watched
from saliency_audit.training.trace import hessian_trace
from tests.conftest import Linear

SIGMA = 0.3


@dataclass(frozen=True)
class Quick(Step):
    """A step whose noise is drawn at once for all images: for as many draws as theory needs."""

    def noise(self, purpose: str) -> Tensor:
        seed = int.from_bytes(purpose.encode()[-4:], "big")
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.images.shape, generator=generator, dtype=self.images.dtype)


class Bowl(nn.Module):
    """One logit x.Hx / 2 + <w, x>, another 0."""

    hessian = torch.tensor([[3.0, 1.0, -0.5], [1.0, 2.0, 0.3], [-0.5, 0.3, 1.5]]).double()
    weight = torch.tensor([0.3, -0.2, 0.1]).double()

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        own = (x @ self.hessian * x).sum(1) / 2 + x @ self.weight
        return torch.stack([own, torch.zeros_like(own)], 1)


@pytest.fixture
def softplus() -> Classifier:
    """One hidden layer: sum_k a_k softplus(w_k.x + b_k)."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 10), nn.Softplus(4), nn.Linear(10, 3))
    return Classifier(network.double(), input_shape=(1, 2, 3))


def estimate(step, *, trace="taylor", sigma=SIGMA, draws=1, antithetic=False, **options):
    with watched(step) as run:
        return hessian_trace(
            step, run, trace=trace, sigma=sigma, draws=draws, antithetic=antithetic, **options
        )


def many(count, **options):
    """Independent estimates at one point of the bowl, with its gradient there."""
    point = torch.tensor([0.2, 0.5, 0.9]).double()
    images = point.expand(count, 1, 1, 3)
    step = Quick(
        Classifier(Bowl(), input_shape=(1, 1, 3)), images, torch.zeros(count).long(),
        generators=lambda purpose: [], one_mode=True,
    )  # fmt: skip
    return estimate(step, **options).detach(), Bowl.hessian @ point + Bowl.weight


TRACE = float(Bowl.hessian.trace())
FROBENIUS = float(Bowl.hessian.square().sum())


@pytest.mark.parametrize("draws", [1, 3])
def test_taylor_has_the_moments_of_theory(draws):
    found, gradient = many(1_000_000, draws=draws)
    variance = (4 * float(gradient @ gradient) / SIGMA**2 + 2 * FROBENIUS) / draws
    assert float(found.mean()) == pytest.approx(TRACE, rel=0.01)
    assert float(found.var()) == pytest.approx(variance, rel=0.01)
    assert float(found.square().mean()) == pytest.approx(TRACE**2 + variance, rel=0.01)


@pytest.mark.parametrize(
    "options", [{"antithetic": True}, {"trace": "hutchinson"}, {"antithetic": True, "draws": 2}]
)
def test_pairs_and_hutchinson_leave_the_variance_of_the_hessian_alone(options):
    found, _ = many(300_000, **options)
    assert float(found.mean()) == pytest.approx(TRACE, rel=0.01)
    variance = 2 * FROBENIUS / options.get("draws", 1)
    assert float(found.var()) == pytest.approx(variance, rel=0.02)


def test_pairs_are_hutchinson_on_a_quadratic():
    # The same directions: v.Hv both, up to round-off.
    pairs, _ = many(100, antithetic=True, draws=3)
    exact, _ = many(100, trace="hutchinson", draws=3)
    torch.testing.assert_close(pairs, exact)


def test_hutchinson_averages_to_the_closed_form_and_to_the_exact_hessian(softplus, step_of):
    images = torch.rand(3, 1, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.tensor([0, 2, 1])
    _, first, _, last = softplus.network
    s = torch.sigmoid(4 * first(images.flatten(1)))
    closed = (last.weight[labels] * 4 * s * (1 - s) * first.weight.square().sum(1)).sum(1)
    exact = []
    for image, label in zip(images, labels, strict=True):
        hessian = torch.func.hessian(lambda x, label=label: softplus(x.unsqueeze(0))[0, label])
        exact.append(hessian(image).reshape(6, 6).trace())
    torch.testing.assert_close(closed, torch.stack(exact))
    count = 20_000
    step = Quick(
        softplus, images.repeat(count, 1, 1, 1), labels.repeat(count),
        generators=lambda purpose: [], one_mode=True,
    )  # fmt: skip
    found = estimate(step, trace="hutchinson").view(count, 3)
    error = found.std(0) / count**0.5
    assert ((found.mean(0) - closed).abs() < 4 * error).all()
    assert (error < 0.05 * closed.abs()).all()


def test_basis_vectors_as_directions_give_the_exact_trace(softplus):
    # Six draws, one along each pixel and sqrt(6) long: v.Hv averages to tr H without chance.
    @dataclass(frozen=True)
    class Basis(Step):
        def noise(self, purpose):
            direction = torch.zeros_like(self.images[0]).flatten()
            direction[int(purpose.rsplit("/", 1)[1])] = 6**0.5
            return direction.view_as(self.images[0]).expand_as(self.images)

    image = torch.rand(1, 1, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    step = Basis(softplus, image, torch.tensor([1]), lambda purpose: [], one_mode=True)
    hessian = torch.func.hessian(lambda x: softplus(x)[0, 1])(image).reshape(6, 6)
    exact = estimate(step, trace="hutchinson", draws=6)
    torch.testing.assert_close(exact, hessian.trace().view(1))
    pairs = estimate(step, antithetic=True, draws=6, sigma=1e-3)
    torch.testing.assert_close(pairs, exact, rtol=1e-4, atol=1e-6)


def test_pairs_tend_to_hutchinson_with_the_square_of_sigma(softplus, step_of):
    images = torch.rand(4, 1, 2, 3, generator=torch.Generator().manual_seed(2)).double()
    step = step_of(softplus, images, torch.tensor([0, 1, 2, 0]), one_mode=True)
    exact = estimate(step, trace="hutchinson", draws=4)
    wide, narrow = (
        (estimate(step, antithetic=True, draws=4, sigma=sigma) - exact).detach().abs().max()
        for sigma in (0.02, 0.01)
    )
    assert float(wide / narrow) == pytest.approx(4, rel=0.05)
    assert narrow < 0.01 * exact.abs().max()


def test_one_sided_taylor_is_hutchinson_and_the_odd_term(softplus, step_of):
    images = torch.rand(4, 1, 2, 3, generator=torch.Generator().manual_seed(2)).double()
    labels = torch.tensor([0, 1, 2, 0])
    step = step_of(softplus, images, labels, one_mode=True)
    with watched(step) as run:
        label = of_labels(run.steady, labels).sum()
        (gradient,) = torch.autograd.grad(label, run.pixels)
    slope = (gradient * step.noise("trace/0")).flatten(1).sum(1)
    exact = estimate(step, trace="hutchinson")
    for sigma in (1e-3, 1e-4):
        found = estimate(step, sigma=sigma) - 2 / sigma * slope
        torch.testing.assert_close(found, exact, rtol=0, atol=30 * sigma)


def test_mean_log_ratio_of_densities_is_half_the_trace(softplus):
    # What evaluate's density profile tells for small noise: sigma^2 / 2 tr H.
    image = torch.rand(1, 1, 2, 3, generator=torch.Generator().manual_seed(3)).double()
    count, sigma = 100_000, 0.03
    images, labels = image.expand(count, 1, 2, 3), torch.ones(count).long()
    with torch.no_grad():
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(4)).double()
        noise = torch.cat([noise, -noise])
        ratio = softplus(image + sigma * noise)[:, 1].mean() - softplus(image)[0, 1]
    step = Quick(softplus, images, labels, lambda purpose: [], one_mode=True)
    found = estimate(step, trace="hutchinson").mean().detach()
    assert float(ratio) == pytest.approx(sigma**2 / 2 * float(found), rel=0.02)


def test_linear_logits_have_none(step_of):
    weight = nn.Parameter(torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0)))
    model = Classifier(Linear(weight, torch.zeros(3)), input_shape=(1, 2, 2))
    step = step_of(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 2]), one_mode=True)
    assert estimate(step, trace="hutchinson", draws=2).tolist() == [0, 0]
    assert estimate(step, antithetic=True).abs().max() < 1e-4


def test_all_draws_go_forward_at_once_and_each_is_another(net, batch, step_of):
    model, (images, labels) = net(plain=True), batch
    step = step_of(model, images, labels, one_mode=True)
    calls = []
    model.network.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    together = estimate(step, draws=3)
    assert calls == [5, 15]
    estimate(step, draws=3, antithetic=True)
    assert calls[2:] == [5, 30]
    assert not torch.allclose(together, estimate(step, draws=1))


def test_an_image_has_its_own_trace_whatever_the_batch(net, batch):
    # In training mode: dropout and the batch's statistics are out of it.
    model, (images, labels) = net(), batch
    model.network[1].momentum = 0.0

    def step(rows):
        return Step(
            model, images[rows], labels[rows],
            lambda purpose: generators(0, [str(row) for row in rows], purpose),
        )  # fmt: skip

    for options in ({}, {"antithetic": True}, {"trace": "hutchinson"}):
        whole = estimate(step([0, 1, 2, 3, 4]), draws=2, **options)
        parts = [estimate(step(rows), draws=2, **options) for rows in ([0, 1], [2, 3, 4])]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-3, atol=1e-3)


def test_both_ends_are_trained(step_of):
    # f_0 = a x^2 + b x + c: dh/da is (2 / sigma^2)((x + v)^2 - x^2), and c drops out.
    class Parabola(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.Parameter(torch.tensor([0.7, -0.3, 0.2]).double())

        def forward(self, images):
            x = images.flatten(1)
            own = self.weights[0] * x.square() + self.weights[1] * x + self.weights[2]
            return torch.cat([own, torch.zeros_like(own)], 1)

    model = Classifier(Parabola(), input_shape=(1, 1, 1))
    images = torch.tensor([0.4]).double().view(1, 1, 1, 1)
    step = step_of(model, images, torch.tensor([0]), one_mode=True)
    (found,) = torch.autograd.grad(estimate(step).sum(), model.network.weights)
    x, v = 0.4, SIGMA * float(step.noise("trace/0"))
    expected = torch.tensor([(x + v) ** 2 - x**2, v, 0.0]).double() * 2 / SIGMA**2
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trace": "hutchison"}, "Did you mean 'hutchinson'"),
        ({"sigma": 0.0}, "--sigma is 0; give more than 0"),
        ({"sigma": float("nan")}, "--sigma is nan"),
        ({"draws": 0}, "--draws is 0; give 1 or more"),
        ({"trace": "hutchinson", "antithetic": True}, "--antithetic is for --trace taylor"),
    ],
)
def test_what_means_nothing_is_refused(net, batch, step_of, options, message):
    with pytest.raises(InputError, match=message):
        estimate(step_of(net(), *batch), **options)
