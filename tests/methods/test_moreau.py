import pytest
import torch

from saliency_audit.errors import InputError
from saliency_audit.methods.moreau import (
    group_moreau,
    group_threshold,
    moreau,
    soft_threshold,
    sparse_moreau,
    why_zero,
)

TARGETS = torch.tensor([0, 1, 2, 1])
EXACT = {"samples": 1, "noise_level": 0.0}


def group_norms(values, side):
    """The L2 norm of each value's square, over all channels, written out."""
    norms = torch.zeros_like(values)
    for i in range(0, values.shape[2], side):
        for j in range(0, values.shape[3], side):
            place = (slice(None), slice(None), slice(i, i + side), slice(j, j + side))
            norms[place] = values[place].square().sum((1, 2, 3), keepdim=True).sqrt()
    return norms


@pytest.mark.parametrize("lam", [0.5, 1.0, 3.0])
def test_of_a_linear_model_it_is_the_weight_whatever_the_noise(linear, draws, lam):
    images = torch.rand(4, 2, 4, 4).double()
    weight = linear.network.weight[TARGETS]

    saliency = moreau(
        linear, images, TARGETS, generators=draws(), samples=2, lam=lam, step_size=0.3
    )

    torch.testing.assert_close(saliency, weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("eta", [0.005, 0.4])
def test_of_a_linear_model_the_sparse_one_is_the_soft_threshold(linear, draws, eta):
    images = torch.rand(4, 2, 4, 4).double()
    weight = linear.network.weight[TARGETS]

    saliency = sparse_moreau(linear, images, TARGETS, generators=draws(), **EXACT, eta=eta, lam=0.7)

    expected = weight.sign() * (weight.abs() - eta).clamp(min=0)
    torch.testing.assert_close(saliency, expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(saliency == 0, weight.abs() <= eta)


@pytest.mark.parametrize("side", [2, 3])
def test_of_a_linear_model_the_group_one_shortens_each_square(linear, draws, side):
    images = torch.rand(4, 2, 4, 4).double()
    weight = linear.network.weight[TARGETS]
    norms = group_norms(weight, side)
    eta = float(norms.median())

    saliency = group_moreau(
        linear, images, TARGETS, generators=draws(), **EXACT, eta=eta, side=side
    )

    expected = (1 - eta / norms).clamp(min=0) * weight
    torch.testing.assert_close(saliency, expected, rtol=1e-9, atol=1e-9)
    assert (saliency == 0).any()
    assert (saliency != 0).any()


def test_of_a_quadratic_model_it_is_the_closed_form(quadratic, draws):
    # A convex one: with x.A x / 2 + w.x the slope is (I + lambda A)^-1 (A x + w).
    hessian = quadratic.network.hessians
    hessian = hessian @ hessian.mT / hessian.square().sum((1, 2), keepdim=True).sqrt()
    quadratic.network.hessians = hessian
    image = torch.linspace(0.1, 0.9, 9).double().view(1, 1, 3, 3)
    weight = quadratic.network.weight[1].flatten()

    saliency = moreau(
        quadratic,
        image,
        torch.tensor([1]),
        generators=draws("a"),
        **EXACT,
        lam=0.8,
        proximal_steps=800,
    )

    slope = hessian[1] @ image.flatten() + weight
    expected = torch.linalg.solve(torch.eye(9).double() + 0.8 * hessian[1], slope)
    torch.testing.assert_close(saliency.flatten(), expected, rtol=1e-8, atol=1e-8)
    assert (saliency.flatten() - slope).abs().max() > 0.1


def test_noise_of_a_quadratic_model_averages_out(quadratic, draws):
    quadratic.network.hessians = torch.eye(9).double().expand(2, 9, 9)
    image = torch.linspace(0.1, 0.9, 9).double().view(1, 1, 3, 3)

    saliency = moreau(quadratic, image, torch.tensor([1]), generators=draws("a"))

    expected = (image + quadratic.network.weight[1:]) / 2
    torch.testing.assert_close(saliency, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize(("method", "eta"), [(sparse_moreau, 50), (group_moreau, 50)])
def test_a_large_penalty_leaves_nothing(method, eta, cnn, images, targets, draws):
    saliency = method(cnn, images, targets, generators=draws(), proximal_steps=2, eta=eta)

    assert torch.equal(saliency, torch.zeros_like(images))
    assert "give a smaller --moreau-eta" in why_zero(cnn, images[:1], targets[:1], scalar="logit")


def test_steps_that_run_away_are_refused(linear, draws):
    images = torch.rand(4, 2, 4, 4).double()
    with pytest.raises(InputError, match=r"--moreau-step-size is 0.1; with --moreau-lambda 0.01"):
        moreau(linear, images, TARGETS, generators=draws(), lam=0.01)


def test_it_looks_in_units_of_the_networks_own_input(linear, draws):
    images = torch.rand(4, 2, 4, 4).double()
    scaled = linear.replaced(linear.network, std=[0.25, 0.5])

    options = {**EXACT, "eta": 0.3}
    own = sparse_moreau(linear, images, TARGETS, generators=draws(), **options)
    behind = sparse_moreau(scaled, images, TARGETS, generators=draws(), **options)

    torch.testing.assert_close(own, behind)


def test_the_soft_threshold_is_the_proximal_operator_of_the_l1_norm():
    values = torch.tensor([-3.0, -0.2, 0.0, 0.5, 2.0]).double()
    found = soft_threshold(values, 0.5)

    for moved in torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).double():
        other = found + 0.1 * moved
        worth, least = (
            (p - values).square().sum() / 2 + 0.5 * p.abs().sum() for p in (other, found)
        )
        assert worth > least


def test_the_group_threshold_is_the_proximal_operator_of_the_group_norm():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(1, 2, 5, 4, generator=generator).double()
    found = group_threshold(values, 3.0, side=3)

    def objective(point):
        each = point[0, :, :3, :3], point[0, :, :3, 3:], point[0, :, 3:, :3], point[0, :, 3:, 3:]
        return (point - values).square().sum() / 2 + 3.0 * sum(part.norm() for part in each)

    assert (found == 0).any()
    for moved in torch.randn(200, 1, 2, 5, 4, generator=generator).double():
        assert objective(found + 0.1 * moved) > objective(found)
