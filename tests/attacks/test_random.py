"""The control uses the whole budget."""

import pytest
import torch

from saliency_audit.attacks import ATTACKS

random = ATTACKS["random"].function


def test_linf_noise_is_at_the_corners(grid, seeds):
    images = grid(3, 3, 6, 6).clamp(0.2, 0.8)
    images = (images * 255).round() / 255
    noise = random(None, None, None, images, None, eps=8 / 255, generators=seeds(3)) - images
    torch.testing.assert_close(noise.abs(), torch.full_like(noise, 8 / 255), rtol=0, atol=1e-6)
    assert 0.4 < float((noise > 0).double().mean()) < 0.6


def test_l2_noise_has_the_length_asked_of_each_image(seeds):
    images = torch.full((3, 3, 30, 30), 128 / 255)
    eps = torch.tensor([0.5, 1.0, 2.0])
    noise = random(None, None, None, images, None, eps=eps, norm="l2", generators=seeds(3))
    lengths = (noise - images).flatten(1).norm(dim=1)
    assert (lengths <= eps + 1e-5).all()
    torch.testing.assert_close(lengths, eps, rtol=0.01, atol=0)


@pytest.mark.parametrize("eps", [0.1, 0.3, 2.0])
def test_small_and_cut_l2_noise_is_no_shorter(eps, seeds):
    images = torch.cat([torch.zeros(1, 3, 100, 100), torch.ones(1, 3, 100, 100)])
    noise = random(None, None, None, images, None, eps=eps, norm="l2", generators=seeds(2))
    lengths = (noise - images).flatten(1).norm(dim=1)
    assert (lengths <= eps + 1e-5).all()
    assert (lengths >= 0.95 * eps).all()


def test_an_image_has_its_own_noise(grid, seeds):
    images = grid(3, 1, 5, 5)
    whole = random(None, None, None, images, None, eps=0.1, generators=seeds(3))
    alone = random(None, None, None, images[2:], None, eps=0.1, generators=seeds(1, first=2))
    assert torch.equal(whole[2:], alone)
    assert not torch.equal(whole[0] - images[0], whole[1] - images[1])


def test_it_needs_a_budget(grid, seeds):
    with pytest.raises(Exception, match="--eps"):
        random(None, None, None, grid(1, 1, 2, 2), None, eps=None, generators=seeds(1))
