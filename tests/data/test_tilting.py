"""The toy's Gaussians against their closed forms, within five standard errors."""

import numpy as np
import pytest
import torch

from saliency_audit.data import open_data
from saliency_audit.data.tilting import COVARIANCE, MEANS, gaussians, unit_points

COUNT = 200_000


@pytest.mark.parametrize("label", [0, 1])
def test_each_class_has_its_mean_and_covariance(label):
    points, labels = gaussians(COUNT, seed=3)
    own = points[labels == label]
    covariance = np.array(COVARIANCE)
    variances = covariance.diagonal()
    error = 5 * np.sqrt(variances / len(own))
    assert (abs(own.mean(0) - MEANS[label]) < error).all()
    # The variance of a sample covariance of Gaussians is (c_ii c_jj + c_ij^2) / n.
    error = 5 * np.sqrt((np.outer(variances, variances) + covariance**2) / len(own))
    assert (abs(np.cov(own.T) - covariance) < error).all()


def test_the_corrected_covariance_is_one_and_the_printed_is_none():
    assert np.linalg.eigvalsh(COVARIANCE).min() > 0
    assert np.linalg.eigvalsh([[0.1, -0.01], [-0.01, 0.0002]]).min() < 0


def test_the_best_boundary_is_tilted_by_76_degrees():
    points, labels = gaussians(COUNT, seed=0)
    within = np.cov(np.concatenate([points[labels == one] - MEANS[one] for one in (0, 1)]).T)
    between = points[labels == 0].mean(0) - points[labels == 1].mean(0)
    normal = np.linalg.solve(within, between)
    slopes = [np.degrees(np.arctan2(*vector[::-1])) for vector in (normal, between)]
    assert slopes == pytest.approx([81.2, 4.8], abs=0.3)


@pytest.mark.parametrize("seed", [0, 5])
def test_training_points_fill_0_to_1_with_one_factor_for_both_coordinates(seed):
    points, labels = unit_points(6000, seed=seed)
    assert (points.min(), points.max()) == (0, 1)
    raw, same = gaussians(6000, seed=seed)
    assert (labels == same).all()
    expected = (raw - raw.min()) / (raw.max() - raw.min())
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-12)


def test_points_beyond_the_training_points_lie_on_the_border():
    points, _ = unit_points(COUNT, seed=0, split="test")
    assert (points.min(), points.max()) == (0, 1)
    assert ((points == 0) | (points == 1)).mean() < 1e-3


def test_images_are_points_in_turns():
    data = open_data("toy:boundary-tilting@train", input_shape=(1, 1, 2), outputs=2)
    assert len(data) == 6000
    assert len(open_data("toy:boundary-tilting", input_shape=(1, 1, 2))) == 2000
    assert data.labels.tolist() == [0, 1] * 3000
    points, _ = unit_points(6000, seed=0)
    images = torch.stack([sample.image for sample in data]).view(-1, 2)
    torch.testing.assert_close(images, torch.from_numpy(points).float(), rtol=0, atol=0)
    # Class 0 lies to the right.
    assert images[::2, 0].mean() > 0.7
    assert data.class_names == ["right", "left"]
