import captum.attr
import torch

from saliency_audit.methods.gradient_shap import gradient_shap
from saliency_audit.methods.integrated_gradients import integrated_gradients


def test_of_a_linear_model_only_the_noise_on_the_image_remains(linear, draws):
    images, targets = torch.rand(3, 2, 4, 4).double(), torch.tensor([0, 2, 1])

    exact = gradient_shap(linear, images, targets, generators=draws("abc"), noise_level=0)

    torch.testing.assert_close(exact, images * linear.network.weight[targets])


def test_without_noise_it_is_integrated_gradients_at_random_points(quadratic, draws):
    image, target = torch.rand(1, 1, 3, 3).double(), torch.tensor([1])

    saliency = gradient_shap(
        quadratic, image, target, generators=draws("a"), samples=20000, noise_level=0
    )

    # The points are known up to sqrt(1 / 12 N) of the way.
    slope = image * (quadratic.network.hessians[1] @ image.flatten()).view_as(image)
    error = slope.abs() / (12 * 20000) ** 0.5
    exact = integrated_gradients(quadratic, image, target, steps=1)
    assert ((saliency - exact).abs() < 4 * error + 1e-9).all()


def test_equals_captum_in_expectation(cnn, images, targets, draws):
    torch.manual_seed(0)
    image, target = images[:1], targets[:1]
    span = float(image.max() - image.min())
    expected = captum.attr.GradientShap(cnn).attribute(
        image, cnn.mean.expand_as(image), n_samples=3000, stdevs=0.1 * span, target=target
    )

    saliency = gradient_shap(cnn, image, target, generators=draws("a"), samples=3000)

    torch.testing.assert_close(
        saliency, expected.float(), rtol=0, atol=0.1 * float(expected.abs().max())
    )
