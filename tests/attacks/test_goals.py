"""Goals against their formulas and the papers' weights."""

import pytest
import torch

from saliency_audit.attacks.mass_center import mass_center
from saliency_audit.attacks.structured import prediction_change, structured
from saliency_audit.attacks.target_region import target_region
from saliency_audit.attacks.topk import topk, topk_shared
from saliency_audit.maps import unit_sum


def maps(seed, side=6):
    generator = torch.Generator().manual_seed(seed)
    return unit_sum(torch.rand(3, 2, side, side, generator=generator, dtype=torch.float64))


def test_topk_is_the_mass_of_the_reference_pixels():
    a, b = maps(0), maps(1)
    for value, shared, mine, reference in zip(
        topk(a, b, k=5), topk_shared(a, b, k=5), a, b, strict=True
    ):
        chosen = set(reference.flatten().topk(5).indices.tolist())
        expected = sum(float(mine.flatten()[i]) for i in chosen)
        assert float(value) == pytest.approx(expected, abs=1e-12)
        both = chosen & set(mine.flatten().topk(5).indices.tolist())
        assert float(shared) == pytest.approx(len(both) / 5)


def test_mass_center_is_minus_the_squared_way_and_stationary_at_the_clean_map():
    a, b = maps(0), maps(1)
    for value, mine, reference in zip(mass_center(a, b), a, b, strict=True):
        ways = []
        for axis in (0, 1):
            at = torch.arange(6).double()
            centre = [float((m.sum(1 - axis) * at).sum()) for m in (mine, reference)]
            ways.append(centre[0] - centre[1])
        assert float(value) == pytest.approx(-(ways[0] ** 2 + ways[1] ** 2), abs=1e-12)
    pixels = a.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mass_center(pixels, a).sum(), pixels)
    assert gradient.abs().max() == 0


def test_target_region_is_minus_the_mass_inside():
    region = torch.zeros(3, 6, 6).double()
    region[:, :3] = 1
    torch.testing.assert_close(
        target_region(maps(0), region), -maps(0)[:, :3].sum((1, 2)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("side", "weight"), [(224, 1e11), (32, 1e11 * (1024 / 50176) ** 2)])
def test_structured_has_the_papers_weight_at_the_papers_size(side, weight):
    a, b = maps(0, side), maps(1, side)
    expected = weight * (a - b).square().mean((1, 2))
    torch.testing.assert_close(structured(a, b), expected, rtol=1e-10, atol=0)
    assert float(structured(a, a).max()) == 0


def test_the_prediction_term_has_the_papers_weight_at_any_number_of_classes():
    for classes in (10, 1000):
        a, b = (torch.rand(2, classes).double().softmax(1) for _ in range(2))
        expected = 1e6 * classes / 1000 * (a - b).square().mean(1)
        torch.testing.assert_close(prediction_change(a, b), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("goal", [topk_shared, mass_center, target_region, structured])
def test_broken_maps_have_no_value_that_could_be_better(goal):
    a = maps(0)
    broken = a.clone()
    broken[1] = torch.nan
    options = {"k": 5} if goal is topk_shared else {}
    value = goal(broken, a, **options)
    assert not bool(value[1] < torch.inf)
    assert value[[0, 2]].isfinite().all()
