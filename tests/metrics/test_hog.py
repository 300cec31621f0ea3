"""Histograms of oriented gradients against scikit-image, and structural similarity's options."""

import numpy as np
import pytest
import torch
from skimage.feature import hog as theirs
from skimage.metrics import structural_similarity

from saliency_audit.errors import InputError
from saliency_audit.metrics.hog import cell_side, hog
from saliency_audit.metrics.ssim import ssim


def maps(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) ** 2


@pytest.mark.parametrize("shape", [(224, 224), (50, 70), (28, 28), (12, 16), (9, 7)])
def test_histograms_equal_those_of_scikit_image(shape):
    cell = cell_side(*shape)
    images = 1e-9 * maps(3, *shape)
    for ours, image in zip(hog(images, cell=cell), images.double(), strict=True):
        scaled = (image - image.min()) / (image.max() - image.min())
        expected = theirs(scaled.numpy(), pixels_per_cell=(cell, cell))
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_an_edge_is_in_the_bin_of_its_direction():
    image = torch.zeros(1, 24, 24)
    image[:, :, 12:] = 1
    cells = hog(image, cell=8).view(3, 3, 9)
    assert cells.nonzero().tolist() == [[0, 1, 0], [1, 1, 0], [2, 1, 0]]
    turned = hog(image.mT, cell=8).view(3, 3, 9)
    assert turned.nonzero().tolist() == [[1, 0, 4], [1, 1, 4], [1, 2, 4]]


def test_scale_and_offset_do_not_matter_and_undefined_maps_stay_so():
    image = maps(2, 24, 24)
    torch.testing.assert_close(
        hog(image, cell=3), hog(1e-6 * image + 1e-6, cell=3), atol=1e-4, rtol=0
    )
    for broken in (0.0, 5.0, torch.nan, torch.inf):
        image[1] = broken
        found = hog(image, cell=3)
        assert found[0].isfinite().all()
        assert found[1].isnan().all()


def scaled(image, data_range):
    image = image.double().numpy()
    low, high = image.min(), image.max()
    return 1 - data_range + data_range * (image - low) / (high - low)


def literal_ssim(x, y, window, data_range):
    at = np.arange(window) - window // 2
    weights = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for i in range(len(x) - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = (z[i : i + window, j : j + window] for z in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            both = (weights * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + c1)
                * (2 * both + c2)
                / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return np.mean(values)


@pytest.mark.parametrize(("window", "data_range"), [(7, 1.0), (5, 2.0), (11, 2.0), (3, 1.0)])
def test_structural_similarity_equals_its_definition(window, data_range):
    a, b = maps(2, 15, 13), maps(2, 15, 13, seed=1)
    for ours, *pair in zip(ssim(a, b, window=window, data_range=data_range), a, b, strict=True):
        x, y = (scaled(z, data_range) for z in pair)
        assert float(ours) == pytest.approx(literal_ssim(x, y, window, data_range), abs=1e-9)
        if window == 11:  # scikit-image's window, whatever it is asked for
            expected = structural_similarity(
                x, y, gaussian_weights=True, use_sample_covariance=False, data_range=data_range
            )
            assert float(ours) == pytest.approx(expected, abs=1e-9)


def test_structural_similarity_is_of_two_dimensions():
    a, b = maps(1, 16, 16), maps(1, 16, 16, seed=1)
    torch.testing.assert_close(ssim(a.mT, b.mT), ssim(a, b))
    # The same pixels, row by row, but other neighbours above and below.
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert (ssim(a[:, order], b[:, order]) - ssim(a, b)).abs() > 1e-4


@pytest.mark.parametrize("options", [{"window": 4}, {"window": 1}, {"data_range": 255.0}])
def test_options_without_meaning_are_refused(options):
    with pytest.raises(InputError, match="give"):
        ssim(maps(1, 9, 9), maps(1, 9, 9), **options)
