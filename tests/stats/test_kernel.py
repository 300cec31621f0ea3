"""Kernel densities against scipy's."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from saliency_audit.stats import kernel


@pytest.mark.parametrize("at_once", [1 << 22, 64])
def test_it_is_scipys(monkeypatch, at_once):
    monkeypatch.setattr(kernel, "_AT_ONCE", at_once)
    values = np.random.default_rng(0).gamma(3, size=50)
    at = np.linspace(-1, 12, 40)
    np.testing.assert_allclose(kernel.kernel_density(values, at), gaussian_kde(values)(at))


def test_equal_values_are_a_narrow_bell():
    at = np.linspace(0, 4, 4001)
    heights = kernel.kernel_density(np.full(5, 2.0), at)
    assert at[heights.argmax()] == pytest.approx(2.0)
    assert np.trapezoid(heights, at) == pytest.approx(1)
