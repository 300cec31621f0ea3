import pytest
import torch

from saliency_audit.methods.gradient import gradient
from saliency_audit.methods.smoothgrad import (
    smoothgrad,
    smoothgrad_abs,
    smoothgrad_squared,
    vargrad,
)

LINEAR_TARGETS = torch.tensor([0, 1, 2, 1])


def one_image(draws):
    image = torch.linspace(0.1, 0.9, 9).double().view(1, 1, 3, 3)
    return {"images": image, "targets": torch.tensor([1]), "generators": draws("a")}, 0.8


def test_of_a_linear_model_noise_changes_nothing(linear, draws):
    images = torch.rand(4, 2, 4, 4).double()
    weight = linear.network.weight[LINEAR_TARGETS]

    for method, expected in (
        (smoothgrad, weight),
        (smoothgrad_abs, weight.abs()),
        (smoothgrad_squared, weight.square()),
    ):
        saliency = method(linear, images, LINEAR_TARGETS, generators=draws(), samples=7)
        torch.testing.assert_close(saliency, expected, rtol=1e-12, atol=1e-12)


def test_without_noise_smoothgrad_is_the_gradient(cnn, images, targets, draws):
    saliency = smoothgrad(cnn, images, targets, generators=draws(), samples=3, noise_level=0)

    torch.testing.assert_close(saliency, gradient(cnn, images, targets))


def test_smoothgrad_of_a_quadratic_model_is_unbiased(quadratic, draws):
    given, span = one_image(draws)
    samples, level = 4000, 0.1
    hessian = quadratic.network.hessians[1]

    saliency = smoothgrad(quadratic, **given, samples=samples, noise_level=level)

    # The noise of the mean: sigma |rows of H| / sqrt(N).
    error = level * span * hessian.norm(dim=1).view(1, 1, 3, 3) / samples**0.5
    exact = gradient(quadratic, given["images"], given["targets"])
    assert ((saliency - exact).abs() < 4 * error).all()
    assert ((saliency - exact).abs() > 0.01 * error).any()


def test_smoothgrad_squared_of_a_quadratic_model(quadratic, draws):
    given, span = one_image(draws)
    saliency = smoothgrad_squared(quadratic, **given, samples=8000, noise_level=0.1)

    variance = quadratic.network.hessians[1].square().sum(1).view(1, 1, 3, 3) * (0.1 * span) ** 2
    exact = gradient(quadratic, given["images"], given["targets"]).square() + variance
    torch.testing.assert_close(saliency, exact, rtol=0.1, atol=0.02)


def test_vargrad_of_a_linear_model_is_zero(linear, draws):
    images = torch.rand(4, 2, 4, 4).double()

    saliency = vargrad(linear, images, LINEAR_TARGETS, generators=draws(), samples=9)

    assert saliency.max() < 1e-25


def test_vargrad_of_a_quadratic_model_is_the_squared_rows_of_its_hessian(quadratic, draws):
    given, span = one_image(draws)
    samples = 8000
    rows = quadratic.network.hessians[1].square().sum(1).view(1, 1, 3, 3)

    saliency = vargrad(quadratic, **given, samples=samples, noise_level=0.1)

    # A variance of N normal numbers is known up to sqrt(2 / N) of itself.
    torch.testing.assert_close(
        saliency, rows * (0.1 * span) ** 2, rtol=5 * (2 / samples) ** 0.5, atol=0
    )


@pytest.mark.parametrize("batch_size", [4, 12, 20, None])
def test_vargrad_is_the_variance_whatever_the_blocks(batch_size, cnn, images, targets, draws):
    options = {"samples": 13, "noise_level": 0.2}
    generators = draws()
    spans = images.flatten(1).amax(1) - images.flatten(1).amin(1)
    gradients = []
    for _ in range(13):
        noise = torch.stack([torch.randn(3, 12, 16, generator=g) for g in generators])
        gradients.append(gradient(cnn, images + 0.2 * spans.view(4, 1, 1, 1) * noise, targets))
    expected = torch.stack(gradients).double().var(0, correction=0)

    saliency = vargrad(cnn, images, targets, generators=draws(), batch_size=batch_size, **options)

    torch.testing.assert_close(saliency.double(), expected, rtol=1e-3, atol=1e-6)


def test_vargrad_keeps_its_digits_where_the_gradient_hardly_varies(quadratic, draws):
    given, _ = one_image(draws)
    given["images"] = given["images"].float()
    quadratic.network.float()
    quadratic.network.weight = quadratic.network.weight.float() * 1e3
    quadratic.network.hessians = quadratic.network.hessians.float()

    saliency = vargrad(quadratic, **given, samples=500)

    rows = quadratic.network.hessians[1].square().sum(1).view(1, 1, 3, 3) * 0.08**2
    torch.testing.assert_close(saliency, rows, rtol=0.4, atol=0)


def test_the_mean_magnitude_is_at_least_the_magnitude_of_the_mean(cnn, images, targets, draws):
    mean = smoothgrad(cnn, images, targets, generators=draws(), samples=9)
    magnitude = smoothgrad_abs(cnn, images, targets, generators=draws(), samples=9)
    squared = smoothgrad_squared(cnn, images, targets, generators=draws(), samples=9)
    variance = vargrad(cnn, images, targets, generators=draws(), samples=9)

    assert (magnitude >= mean.abs() - 1e-6).all()
    assert (squared >= magnitude.square() - 1e-5).all()
    torch.testing.assert_close(variance, squared - mean.square(), rtol=1e-3, atol=1e-5)
