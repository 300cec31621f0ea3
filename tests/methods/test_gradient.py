import captum.attr
import pytest
import torch
from torch import nn

from saliency_audit.methods.gradient import gradient
from saliency_audit.methods.input_x_gradient import input_x_gradient
from saliency_audit.models import Classifier


def test_gradient_of_a_linear_model_is_its_weight(linear):
    images = torch.rand(5, 2, 4, 4).double()
    targets = torch.tensor([0, 1, 2, 0, 1])

    saliency = gradient(linear, images, targets)

    torch.testing.assert_close(saliency, linear.network.weight[targets], rtol=0, atol=1e-12)


def test_gradient_of_a_quadratic_model_is_h_x_plus_w(quadratic):
    images = torch.rand(4, 1, 3, 3).double()
    targets = torch.tensor([0, 1, 1, 0])
    hessians, weight = quadratic.network.hessians[targets], quadratic.network.weight[targets]

    expected = (hessians @ images.flatten(1)[:, :, None])[..., 0] + weight.flatten(1)

    torch.testing.assert_close(gradient(quadratic, images, targets).flatten(1), expected)


def test_loss_gradient_is_the_expected_logit_gradient_minus_the_targets(smooth, images, targets):
    # P0 eq. 6: grad l_y = -grad f_y + sum_j p_j grad f_j
    images = images.double()
    probs = smooth(images).softmax(1)
    logits = torch.stack([gradient(smooth, images, torch.full((4,), j)) for j in range(5)], 1)

    expected = torch.einsum("nj,njchw->nchw", probs, logits) - logits[range(4), targets]

    torch.testing.assert_close(
        gradient(smooth, images, targets, scalar="loss"), expected, rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(
        gradient(smooth, images, targets, scalar="log-prob"), -expected, rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(
        gradient(smooth, images, targets, scalar="centred-logit"),
        logits[range(4), targets] - logits.mean(1),
        rtol=1e-9,
        atol=1e-12,
    )


def test_gradient_equals_captum(cnn, images, targets):
    expected = captum.attr.Saliency(cnn).attribute(
        images.clone().requires_grad_(), targets, abs=False
    )

    torch.testing.assert_close(gradient(cnn, images, targets), expected)


def test_input_x_gradient_equals_captum_on_the_network(cnn, images, targets):
    # The network's own input is the normalised image.
    inputs = ((images - cnn.mean) / cnn.std).requires_grad_()
    expected = captum.attr.InputXGradient(cnn.network).attribute(inputs, targets)

    torch.testing.assert_close(
        input_x_gradient(cnn, images, targets), expected, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("colours", [{}, {"mean": 0.4, "std": 0.2}])
def test_input_x_gradient_of_a_network_without_biases_sums_to_the_logit(colours):
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4, bias=False)
    )
    model = Classifier(network, input_shape=(3, 8, 8), **colours)
    images, targets = torch.rand(3, 3, 8, 8), torch.tensor([0, 3, 1])

    saliency = input_x_gradient(model, images, targets)

    logits = model(images).detach()[range(3), targets]
    torch.testing.assert_close(saliency.sum((1, 2, 3)), logits, rtol=1e-4, atol=1e-6)
