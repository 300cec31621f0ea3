"""The losses of P3's VAE-GAN by hand, PCA by numpy, and trainings that are stopped."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from saliency_audit.catalogue.manifold import MANIFOLD_COURSES
from saliency_audit.data import from_tensors
from saliency_audit.errors import AuditError, InputError
from saliency_audit.models.manifold import ManifoldDesign, drawn_autoencoder
from saliency_audit.training.manifold import (
    decoder_loss,
    discriminator_loss,
    encoder_loss,
    fit_pca,
    train_vae_gan,
)

DESIGN = ManifoldDesign("vae-gan", (1, 8, 8), 3, "cifar", 32)
COURSE = replace(MANIFOLD_COURSES["p3-cifar"], epochs=2, batch=8, discriminator_steps=2)
CPU = torch.device("cpu")


def images_of(count, seed=0):
    """Images near a plane of two directions."""
    draw = torch.Generator().manual_seed(seed)
    directions = torch.randn(2, 64, generator=draw) / 8
    flat = 0.5 + torch.randn(count, 2, generator=draw) @ directions * 0.3
    flat += 0.01 * torch.randn(count, 64, generator=draw)
    return flat.clamp(0, 1).view(count, 1, 8, 8)


@pytest.fixture
def batch():
    autoencoder, judge = drawn_autoencoder(DESIGN, 1)
    autoencoder.eval().requires_grad_(False)
    judge.eval().requires_grad_(False)
    draw = torch.Generator().manual_seed(2)
    noise, prior = (torch.randn(4, 3, generator=draw) for _ in range(2))
    return autoencoder, judge, 2 * images_of(4) - 1, noise, prior


def by_hand(autoencoder, judge, images, noise, prior):
    """Everything that the losses are made of, image by image."""
    parts = []
    for x, e, p in zip(images, noise, prior, strict=True):
        mean, log_variance = autoencoder.encoder(x[None])[0].split(3)
        sigma = torch.sqrt(torch.exp(log_variance))
        made = autoencoder.decoder((mean + sigma * e)[None])[0]
        l1 = sum(abs(float(a) - float(b)) for a, b in zip(x.flatten(), made.flatten(), strict=True))
        # KL of N(mean, sigma) from N(0, 1), as torch.distributions has it
        normal = torch.distributions.Normal
        kl = torch.distributions.kl_divergence(normal(mean, sigma), normal(0.0, 1.0)).sum()
        real, fake, drawn = (
            float(torch.sigmoid(judge(one[None])))
            for one in (x, made, autoencoder.decoder(p[None])[0])
        )
        parts.append((l1, float(kl), real, fake, drawn))
    return np.array(parts)


def test_the_losses_are_those_of_the_paper(batch):
    l1, kl, real, fake, drawn = by_hand(*batch).T
    autoencoder, judge, images, noise, prior = batch
    assert float(encoder_loss(autoencoder, images, noise)) == pytest.approx(
        (l1 + kl).mean(), rel=1e-5
    )
    decoder = decoder_loss(autoencoder, judge, images, noise, prior, weight=0.01)
    expected = (0.01 * l1 - np.log(fake) - np.log(drawn)).mean()
    assert float(decoder) == pytest.approx(expected, rel=1e-5)
    told = discriminator_loss(autoencoder, judge, images, noise, prior)
    expected = -(np.log(real) + np.log(1 - fake) + np.log(1 - drawn)).mean()
    assert float(told) == pytest.approx(expected, rel=1e-5)


def test_each_network_learns_of_its_own_loss_alone(batch):
    autoencoder, judge, images, noise, prior = batch
    autoencoder.requires_grad_(True)
    judge.requires_grad_(True)
    decoder_loss(autoencoder, judge, images, noise, prior, weight=1.0).backward()
    assert all(weight.grad is None for weight in autoencoder.encoder.parameters())
    autoencoder.zero_grad()
    discriminator_loss(autoencoder, judge, images, noise, prior).backward()
    assert all(weight.grad is None for weight in autoencoder.parameters())


def trained(state=None, steps=None, images=None):
    data = from_tensors(images_of(20) if images is None else images)
    run = train_vae_gan(data, DESIGN, course=COURSE, seed=3, device=CPU, state=state)
    return list(islice(run, steps))[-1]


def test_a_stopped_training_ends_in_the_same_weights(tmp_path):
    whole = trained()
    assert whole.step == whole.steps == 4
    assert not whole.manifold.network.training
    stopped = trained(steps=3)
    assert stopped.step == 3
    torch.save(stopped.state(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = trained(state)
    for name in ("autoencoder", "discriminator"):
        for key, value in whole.state()[name].items():
            assert torch.equal(value, resumed.state()[name][key]), key
    assert resumed.state()["read"] == whole.state()["read"] == 32


@pytest.mark.slow
def test_a_training_brings_projections_nearer_than_the_mean_image():
    draw = torch.Generator().manual_seed(0)
    stripes = (-1.0) ** (torch.arange(8) // 4)
    patterns = torch.stack([stripes.expand(8, 8), stripes.expand(8, 8).T])
    images = (
        0.5 + torch.einsum("nk,khw->nhw", torch.rand(64, 2, generator=draw) - 0.5, patterns) / 2
    )
    images = images.unsqueeze(1)
    course = replace(MANIFOLD_COURSES["short"], epochs=30, batch=16, lr=1e-2)
    data = from_tensors(images)
    *_, last = train_vae_gan(data, DESIGN, course=course, seed=0, device=CPU)
    mean = (2 * (images - images.mean(0))).flatten(1).norm(dim=1).median()
    assert float(last.manifold.distance(images).median()) < 0.7 * float(mean)


def test_too_few_images_and_what_is_not_finite_end_a_training():
    with pytest.raises(InputError, match="has 1 image, of which no manifold can be learned"):
        trained(images=images_of(1))
    with pytest.raises(InputError, match="has 1 image, of which"):
        fit_pca(from_tensors(images_of(1)), (1, 8, 8), components=1, device=CPU)
    first = trained(steps=1).state()
    first["autoencoder"]["encoder.1.weight"].view(-1)[0] = torch.nan
    with pytest.raises(AuditError, match="loss of the VAE-GAN's encoder is not finite at step 2"):
        trained(first)


@pytest.mark.parametrize("components", [1, 5, 0.5, 0.99])
def test_pca_is_numpys(components):
    images = images_of(40)
    found, share = fit_pca(from_tensors(images), (1, 8, 8), components=components, device=CPU)
    x = images.flatten(1).double().numpy()
    centred = x - x.mean(0)
    _, values, right = np.linalg.svd(centred, full_matrices=False)
    shares = np.cumsum(values**2) / np.sum(values**2)
    count = components if components >= 1 else int(np.argmax(shares >= components)) + 1
    assert found.design.latent == count
    assert share == pytest.approx(shares[count - 1])
    # ||(I - P)(x - m)||, of values in [-1, 1]
    inside = right[:count].T @ right[:count]
    expected = 2 * np.linalg.norm(centred @ (np.eye(64) - inside), axis=1)
    np.testing.assert_allclose(found.distance(images).numpy(), expected, atol=2e-6)
    torch.testing.assert_close(
        found.distance(found.project(images)), torch.zeros(40), atol=2e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("images", "components", "said"),
    [
        (images_of(4), 9, "components is 9; the 4 images .* differ in 3 directions; give no more"),
        (images_of(4), 1.5, "components is 1.5; give a whole number, or a share below 1"),
        (torch.full((3, 1, 8, 8), 0.5), 1, "are all the same"),
        (torch.rand(2, 3, 64, 64), 1, "takes images of up to 4,096 values, and these have 12,288"),
    ],
)
def test_what_has_no_plane_is_refused(images, components, said):
    with pytest.raises(InputError, match=said):
        fit_pca(from_tensors(images), tuple(images.shape[1:]), components=components, device=CPU)
