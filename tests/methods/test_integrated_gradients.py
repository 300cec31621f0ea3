import captum.attr
import pytest
import torch

from saliency_audit.methods.integrated_gradients import integrated_gradients
from saliency_audit.models import SCALARS


@pytest.mark.parametrize("baseline", [None, 1.0])
def test_one_step_is_exact_for_linear_and_quadratic_models(baseline, linear, quadratic):
    start = baseline or 0
    images, targets = torch.rand(3, 2, 4, 4).double(), torch.tensor([0, 2, 1])
    torch.testing.assert_close(
        integrated_gradients(linear, images, targets, steps=1, baseline=baseline),
        (images - start) * linear.network.weight[targets],
    )

    images, targets = torch.rand(3, 1, 3, 3).double(), torch.tensor([0, 1, 1])
    hessians, weight = quadratic.network.hessians[targets], quadratic.network.weight[targets]
    middle = ((images + start) / 2).flatten(1)[:, :, None]
    expected = (images - start).flatten(1) * ((hessians @ middle)[..., 0] + weight.flatten(1))
    for steps in (1, 6):
        torch.testing.assert_close(
            integrated_gradients(quadratic, images, targets, steps=steps, baseline=baseline),
            expected.view_as(images),
        )


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("baseline", [None, 0.0])
def test_completeness(scalar, baseline, smooth, images, targets):
    images = images.double()
    start = smooth.mean.double().expand_as(images)
    if baseline is not None:
        start = torch.full_like(images, baseline)
    at, before = (smooth.explained(scalar, smooth(x), targets).detach() for x in (images, start))

    gaps = []
    for steps in (8, 32):
        saliency = integrated_gradients(
            smooth, images, targets, scalar=scalar, steps=steps, baseline=baseline
        )
        gaps.append((saliency.sum((1, 2, 3)) - (at - before)).abs().max())

    assert gaps[1] < 1e-3
    if scalar != "margin":  # the runner-up changes on the way: a kink
        assert gaps[1] < gaps[0] / 8  # of order 1/M^2


def test_equals_captum_on_the_network(cnn, images, targets):
    inputs = (images - cnn.mean) / cnn.std
    expected = captum.attr.IntegratedGradients(cnn.network).attribute(
        inputs, torch.zeros_like(inputs), targets, n_steps=20, method="riemann_middle"
    )

    torch.testing.assert_close(
        integrated_gradients(cnn, images, targets, steps=20, batch_size=16),
        expected.float(),
        rtol=1e-3,
        atol=1e-5,
    )
