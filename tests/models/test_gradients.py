from contextlib import nullcontext

import pytest
import torch
from torch import nn

from saliency_audit.models import (
    Classifier,
    gradients_at,
    in_batches,
    input_gradient,
    surrogate,
)


def test_a_linear_model_has_its_weights_as_gradient(linear):
    images, targets = torch.rand(3, 2, 4, 4).double(), torch.tensor([2, 0, 1])
    gradient = input_gradient(linear, images, targets)
    assert torch.allclose(gradient, linear.network.weight[targets])
    centred = input_gradient(linear, images, targets, scalar="centred-logit")
    assert torch.allclose(centred, linear.network.weight[targets] - linear.network.weight.mean(0))


def test_the_gradient_is_in_pixels_not_in_normalised_units():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    model = Classifier(network, input_shape=(1, 2, 2), mean=0.5, std=0.25)
    gradient = input_gradient(model, torch.rand(1, 1, 2, 2), torch.tensor([1]))
    assert torch.allclose(gradient.flatten(), network[1].weight[1] / 0.25)


@pytest.mark.parametrize("scalar", ["logit", "loss", "margin"])
def test_finite_differences_agree(scalar, smooth, images, targets):
    images = images.double()
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(5)).double()
    gradient = input_gradient(smooth, images, targets, scalar=scalar)
    with torch.no_grad():
        up, down = (
            smooth.explained(scalar, smooth(images + step * direction), targets)
            for step in (1e-5, -1e-5)
        )
    assert torch.allclose((gradient * direction).flatten(1).sum(1), (up - down) / 2e-5, rtol=1e-6)


def test_batches_do_not_matter(cnn, images, targets):
    with cnn.audited():
        whole = input_gradient(cnn, images, targets)
        assert torch.allclose(
            input_gradient(cnn, images, targets, batch_size=3), whole, rtol=1e-4, atol=1e-7
        )


def test_the_second_derivative_of_a_quadratic_is_its_hessian(quadratic):
    images = torch.rand(2, 1, 3, 3).double().requires_grad_()
    gradient = input_gradient(quadratic, images, torch.tensor([0, 1]), graph=True)
    assert gradient.requires_grad
    v = torch.rand(2, 1, 3, 3).double()
    (product,) = torch.autograd.grad((gradient * v).sum(), images)
    expected = torch.einsum("kde,ke->kd", quadratic.network.hessians, v.flatten(1))
    assert torch.allclose(product.flatten(1), expected)
    assert not input_gradient(quadratic, images, torch.tensor([0, 1])).requires_grad


def test_attention_is_twice_differentiable():
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, images):
            tokens = images.flatten(2)
            return self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1)

    torch.manual_seed(0)
    model = Classifier(Attends().eval(), input_shape=(3, 2, 2))
    images = torch.rand(2, 3, 2, 2, requires_grad=True)
    gradient = input_gradient(model, images, torch.tensor([0, 1]), graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images)
    assert bool(second.any())


def test_a_scalar_that_ignores_the_image_has_zero_gradient():
    class Prior(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.ones(2))

        def forward(self, images):
            return self.logits.expand(len(images), 2)

    model = Classifier(Prior(), input_shape=(1, 2, 2))
    gradient = input_gradient(model, torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0]))
    assert torch.equal(gradient, torch.zeros(3, 1, 2, 2))


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7, 100])
def test_gradients_at_points_are_bounded_by_the_batch_size(batch_size, linear):
    images, targets = torch.rand(3, 2, 4, 4).double(), torch.tensor([2, 0, 1])
    seen = []
    handle = linear.register_forward_hook(lambda module, inputs, _: seen.append(len(inputs[0])))
    asked = []

    def points(k: int) -> torch.Tensor:
        asked.append(k)
        return images + k

    gradients = torch.cat(list(gradients_at(linear, points, 5, targets, batch_size=batch_size)))
    handle.remove()
    assert asked == list(range(5))
    assert gradients.shape == (5, 3, 2, 4, 4)
    assert torch.allclose(gradients, linear.network.weight[targets].expand_as(gradients))
    assert sum(seen) == 15
    assert max(seen) <= (batch_size or 15)


def test_results_come_back_in_order():
    images, targets = torch.arange(5.0).view(5, 1, 1, 1), torch.arange(5)
    for size in (None, 1, 2, 9):
        result = in_batches(lambda x, y: x.flatten() + y, images, targets, size)
        assert result.tolist() == [0, 2, 4, 6, 8]
    assert in_batches(lambda x, y: x, images[:0], targets[:0], 4).shape == (0, 1, 1, 1)


@pytest.mark.parametrize("kind", [None, "softplus", "exact-forward"])
def test_gradients_made_again_part_by_part_are_those_of_one_graph(kind, cnn, images, targets):
    weights = torch.randn(6, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0))

    def second(batch_size):
        pixels = images.clone().requires_grad_()
        with cnn.audited(), surrogate(cnn, kind, beta=5.0) if kind else nullcontext():
            points = gradients_at(
                cnn,
                lambda k: (k + 1) / 6 * pixels,
                6,
                targets,
                graph=True,
                batch_size=batch_size,
                scalar="log-prob",
            )
            maps = torch.cat(list(points))
            (result,) = torch.autograd.grad((weights * maps.square()).sum(), pixels)
        return maps.detach(), result

    whole, parts = second(None), second(8)
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-3, atol=1e-5)
    assert whole[1].abs().max() > 0


def test_weights_that_are_trained_keep_their_graph(cnn, images, targets):
    points = gradients_at(cnn, lambda k: images, 3, targets, graph=True, batch_size=4)
    total = sum(part.square().sum() for part in points)
    (gradient,) = torch.autograd.grad(total, cnn.network[0].weight)
    assert gradient.abs().max() > 0
