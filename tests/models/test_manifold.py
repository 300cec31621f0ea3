"""The autoencoders of P3 A.3 by their tables, and files that are none."""

import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models.manifold import (
    Manifold,
    ManifoldDesign,
    Same,
    Subspace,
    drawn_autoencoder,
    restored_manifold,
)

MNIST = ManifoldDesign("vae-gan", (1, 28, 28), 10, "mnist", 1)
CIFAR = ManifoldDesign("vae-gan", (3, 32, 32), 128, "cifar", 1)
SMALL = ManifoldDesign("vae-gan", (2, 9, 13), 3, "cifar", 32)
PLANE = ManifoldDesign("pca", (1, 2, 2), 1)


def weights(network):
    """Shapes of what multiplies, in order."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    return [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, kinds)]


def sides(network, inputs):
    """Sides of what each convolution gives."""
    seen = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, given, out: seen.append(out.shape[2]))
    network(inputs)
    return seen


def test_the_layers_for_mnist_are_those_of_p3():
    made, judge = drawn_autoencoder(MNIST, 0)
    assert weights(made.encoder) == [
        (64, 1, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (20, 4096),
    ]  # fmt: skip
    assert weights(made.decoder) == [
        (1024, 10), (256, 256, 4, 4), (256, 128, 4, 4), (128, 32, 4, 4), (32, 1, 4, 4),
    ]  # fmt: skip
    assert weights(judge) == [
        (32, 1, 4, 4), (128, 32, 4, 4), (256, 128, 4, 4), (256, 256, 4, 4), (512, 1024), (1, 512),
    ]  # fmt: skip
    images = torch.zeros(2, 1, 28, 28)
    assert sides(made.encoder, images) == [14, 7, 4]
    assert sides(made.decoder, torch.zeros(2, 10)) == [4, 7, 14, 28]
    assert sides(judge, images) == [14, 7, 4, 2]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in judge.modules()) == 3


def test_the_layers_for_cifar_are_those_of_p3():
    made, judge = (network.requires_grad_(False) for network in drawn_autoencoder(CIFAR, 0))
    assert weights(made.encoder)[0] == (64, 3, 5, 5)
    assert weights(made.decoder)[0] == (8192, 128)
    assert sides(made.decoder, torch.zeros(2, 128)) == [8, 16, 32, 32]
    assert sides(judge, torch.zeros(2, 3, 32, 32)) == [32, 16, 16, 8, 8, 4, 4]
    assert [shape[:1] + shape[2:] for shape in weights(judge)[:-1]] == [
        (64, 3, 3), (64, 4, 4), (128, 3, 3), (128, 4, 4), (256, 3, 3), (256, 4, 4), (512, 3, 3),
    ]  # fmt: skip
    for layer in judge.modules():
        if isinstance(layer, nn.Conv2d):
            assert float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2)) < 1.2


def test_images_of_any_sides_come_back_in_them_and_one_by_one():
    made, judge = drawn_autoencoder(SMALL, 0)
    images = torch.rand(4, *SMALL.shape)
    assert judge(images).shape == (4, 1)
    manifold = Manifold(SMALL, made.eval())
    together = manifold.project(images)
    assert together.shape == images.shape
    alone = torch.cat([manifold.project(image[None]) for image in images])
    torch.testing.assert_close(alone, together)
    assert torch.equal(manifold.project(images), together)


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(7, 4, 2), (28, 4, 2), (5, 3, 1), (9, 5, 2)]
)
def test_same_is_tensorflows(side, kernel, stride):
    padded = Same(kernel, stride)(torch.ones(1, 1, side, side))
    assert (padded.shape[2] - kernel) // stride + 1 == -(-side // stride)
    zeros = (padded[0, 0, padded.shape[2] // 2] == 0).nonzero().flatten()
    before = int((zeros < side // 2).sum())
    assert before == (padded.shape[2] - side) // 2


def test_the_seed_draws_the_weights_and_nothing_else_moves():
    state = torch.get_rng_state()
    first, second = (drawn_autoencoder(SMALL, 5)[0].state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"kind": "pca", "shape": [1, 2], "latent": 1, "decoder": "", "divisor": 1}']
    + [
        design.written.replace(*change)
        for design, change in (
            (MNIST, ("28, 28", "28, 29")),
            (MNIST, ('"mnist"', '"dcgan"')),
            (PLANE, ('"pca"', '"ica"')),
            (PLANE, ('"latent": 1', '"latent": 0')),
            (PLANE, ("2, 2", "2, 99999999")),
        )
    ],
)
def test_what_is_no_design_is_refused(text):
    with pytest.raises(ValueError, match="is no design of a manifold"):
        ManifoldDesign.read(text)


def test_weights_of_another_design_or_that_are_not_finite_are_refused():
    cpu = torch.device("cpu")
    state = drawn_autoencoder(SMALL, 0)[0].state_dict()
    back = restored_manifold(state, SMALL, cpu)
    images = torch.rand(2, *SMALL.shape)
    assert torch.equal(
        back.project(images), Manifold(SMALL, drawn_autoencoder(SMALL, 0)[0].eval()).project(images)
    )
    with pytest.raises(InputError, match="not of the autoencoder that its metadata describes"):
        restored_manifold(state, MNIST, cpu)
    with pytest.raises(InputError, match="not of the autoencoder"):
        restored_manifold({"mean": torch.zeros(4), "basis": torch.zeros(2, 4)}, PLANE, cpu)
    broken = {name: value.clone() for name, value in state.items()}
    next(iter(broken.values())).view(-1)[0] = torch.nan
    with pytest.raises(InputError, match="numbers that are not finite"):
        restored_manifold(broken, SMALL, cpu)


def test_a_point_of_a_plane_is_0_from_it_and_others_their_normal_part():
    basis = torch.tensor([[0.6, 0.8, 0.0, 0.0]])
    plane = Manifold(PLANE, Subspace(torch.tensor([0.1, -0.2, 0.0, 0.3]), basis))
    on = (torch.tensor([0.1, -0.2, 0.0, 0.3]) + 0.5 * basis[0] + 1).view(1, 1, 2, 2) / 2
    assert float(plane.distance(on)) < 1e-6
    off = on + torch.tensor([-0.8, 0.6, 0.0, 0.0]).view(1, 1, 2, 2) / 10
    # Twice the length in pixel units.
    torch.testing.assert_close(plane.distance(off), torch.tensor([0.2]))
