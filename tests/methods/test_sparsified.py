import pytest
import torch

from saliency_audit.methods.gradient import gradient
from saliency_audit.methods.smoothgrad import smoothgrad_abs
from saliency_audit.methods.sparsified import kept_largest, sparsified, sparsified_smoothgrad


def slowly(gradients, keep, flatten):
    """The definition, value by value."""
    maps = []
    for own in gradients.abs().flatten(1).tolist():
        order = sorted(range(len(own)), key=lambda i: -own[i])
        cap = own[order[max(1, int(flatten * len(own))) - 1]]
        stays = order[: max(1, int(keep * len(own)))]
        maps.append([min(v / cap, 1.0) if i in stays else 0.0 for i, v in enumerate(own)])
    return torch.tensor(maps, dtype=gradients.dtype).view_as(gradients)


@pytest.mark.parametrize(("keep", "flatten"), [(0.1, 0.01), (0.3, 0.05), (0.02, 0.2), (1.0, 0.0)])
def test_it_is_the_definition(cnn, images, targets, keep, flatten):
    saliency = sparsified(cnn, images, targets, keep=keep, flatten=flatten)

    expected = slowly(gradient(cnn, images, targets), keep, flatten)
    torch.testing.assert_close(saliency, expected)
    size = images[0].numel()
    support = (saliency > 0).flatten(1).sum(1)
    assert support.tolist() == [int(keep * size)] * 4
    assert ((saliency == 1).flatten(1).sum(1) >= 1).all()
    assert saliency.amin() >= 0


def test_a_gradient_of_zero_is_a_map_of_zero():
    maps = kept_largest(torch.zeros(2, 3, 4, 4), keep=0.1, flatten=0.01)

    assert torch.equal(maps, torch.zeros(2, 3, 4, 4))


def test_without_noise_all_copies_are_the_sparsified_gradient(cnn, images, targets, draws):
    saliency = sparsified_smoothgrad(
        cnn, images, targets, generators=draws(), samples=3, noise_level=0
    )

    torch.testing.assert_close(saliency, sparsified(cnn, images, targets))


def test_of_one_copy_that_keeps_everything_is_the_magnitude_over_its_largest(
    cnn, images, targets, draws
):
    saliency = sparsified_smoothgrad(
        cnn, images, targets, generators=draws(), samples=1, keep=1.0, flatten=0.0
    )

    magnitude = smoothgrad_abs(cnn, images, targets, generators=draws(), samples=1)
    torch.testing.assert_close(saliency, magnitude / magnitude.amax((1, 2, 3), keepdim=True))


@pytest.mark.parametrize("batch_size", [None, 5])
def test_it_is_the_mean_over_copies(cnn, images, targets, draws, batch_size):
    saliency = sparsified_smoothgrad(
        cnn, images, targets, generators=draws(), samples=6, batch_size=batch_size, keep=0.2
    )

    generators = draws()
    spans = images.flatten(1).amax(1) - images.flatten(1).amin(1)
    total = torch.zeros_like(images)
    for _ in range(6):
        noise = torch.stack([torch.randn(3, 12, 16, generator=g) for g in generators])
        noisy = images + 0.1 * spans.view(4, 1, 1, 1) * noise
        total += slowly(gradient(cnn, noisy, targets), 0.2, 0.01)
    torch.testing.assert_close(saliency, total / 6, rtol=1e-4, atol=1e-6)
