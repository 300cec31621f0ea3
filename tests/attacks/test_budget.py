"""Every attacked image is within its budget, in [0, 1] and on the 8-bit grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saliency_audit.budget import direction, project, random_start, rounded
from saliency_audit.seeding import generators

BUDGETS = st.one_of(
    st.sampled_from([0.0, 1 / 255, 2 / 255, 8 / 255, 0.5]), st.floats(0, 1, width=32)
)


def sizes(changes, norm):
    flat = changes.flatten(1).double()
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


@settings(max_examples=60, deadline=None)
@given(
    eps=BUDGETS,
    norm=st.sampled_from(["linf", "l2"]),
    scale=st.floats(1e-3, 3),
    seed=st.integers(0, 2**16),
)
def test_projected_and_rounded_images_are_where_they_may_be(eps, norm, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(256, (2, 3, 5, 4), generator=generator).float() / 255
    wild = clean + scale * torch.randn(clean.shape, generator=generator)
    near = project(wild, clean, eps=eps, norm=norm)
    assert ((near >= 0) & (near <= 1)).all()
    assert (sizes(near - clean, norm) <= eps + 1e-6).all()
    kept = rounded(near, clean, eps=eps, norm=norm)
    levels = kept.double() * 255
    np.testing.assert_allclose(levels, levels.round(), atol=1e-4)
    assert ((kept >= 0) & (kept <= 1)).all()
    assert (sizes(kept - clean, norm) <= eps + 1e-6).all()
    # No pixel moves by more than a level through rounding.
    assert ((kept - near).abs() <= 1 / 255 + 1e-6).all()


def test_projection_of_what_is_inside_is_the_same(grid):
    clean = grid(2, 1, 4, 4)
    inside = (clean + 0.01).clamp(0, 1)
    for norm in ("linf", "l2"):
        torch.testing.assert_close(project(inside, clean, eps=1.0, norm=norm), inside)


def test_without_a_budget_only_the_range_holds(grid):
    clean = grid(1, 1, 4, 4)
    assert torch.equal(project(clean + 5, clean, eps=None, norm="linf"), torch.ones_like(clean))
    torch.testing.assert_close(rounded(clean, clean, eps=None, norm="l2"), clean)


def test_an_l2_ball_that_rounding_would_leave_is_nearly_filled():
    clean = torch.full((1, 1, 20, 20), 100 / 255)
    change = torch.full_like(clean, 0.6 / 255)  # every pixel would be rounded up
    change[0, 0, 0, 0] = 5 / 255
    eps = float(change.norm())
    kept = rounded(clean + change, clean, eps=eps, norm="l2") - clean
    assert float(kept.norm()) <= eps + 1e-6
    assert float(kept.norm()) >= 0.98 * eps
    assert round(float(kept[0, 0, 0, 0]) * 255) == 5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_fill_the_ball_and_belong_to_their_image(norm):
    clean = torch.full((40, 1, 3, 3), 0.5)
    names = [str(i) for i in range(40)]
    start = random_start(clean, eps=0.25, norm=norm, generators=generators(0, names, "a"))
    reach = sizes(start - clean, norm)
    assert (reach <= 0.25 + 1e-6).all()
    assert float(reach.max()) > 0.23
    alone = random_start(clean[7:8], eps=0.25, norm=norm, generators=generators(0, ["7"], "a"))
    assert torch.equal(alone[0], start[7])


def test_a_gradient_too_small_to_have_a_length_is_no_direction():
    assert torch.equal(direction(torch.full((1, 4), 1e-25), "normalised"), torch.zeros(1, 4))
