"""The search: what it may not do, what it cannot do, and that it works."""

from functools import partial

import pytest
import torch
from torch import nn

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.attacks import ATTACKS
from saliency_audit.attacks.descend import Aim, descend
from saliency_audit.attacks.mass_center import mass_center
from saliency_audit.attacks.structured import structured
from saliency_audit.attacks.topk import topk, topk_shared
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier, untrained
from tests.conftest import Linear


@pytest.fixture(scope="module")
def fashion():
    """The bundled classifier, four of its images and their predicted classes."""
    model = Classifier(bundled_model(), input_shape=(1, 28, 28)).eval().requires_grad_(False)
    pixels, _, _ = bundled_images("test")
    images = torch.from_numpy(pixels[:4]).unsqueeze(1).float() / 255
    with torch.no_grad():
        return model, images, model(images).argmax(1)


def search(goal, criterion, explain, model, images, targets, seeds, floor=-torch.inf, **options):
    reference = explain(images, graph=False)
    aim = Aim(
        partial(goal, reference=reference),
        criterion and partial(criterion, reference=reference),
        floor,
    )
    return descend(
        model,
        explain,
        aim,
        images,
        targets,
        generators=seeds(len(images)),
        **{"eps": 8 / 255, "steps": 10, **options},
    )


topk16, shared16 = partial(topk, k=16), partial(topk_shared, k=16)


@pytest.mark.parametrize("surrogate", ["exact-forward", "softplus"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_topk_moves_the_map_within_the_budget_and_keeps_the_class(
    surrogate, norm, fashion, explain_of, seeds
):
    model, images, targets = fashion
    explain = explain_of(model, targets)
    eps = 8 / 255 if norm == "linf" else 0.8
    attacked = search(
        topk16,
        shared16,
        explain,
        model,
        images,
        targets,
        seeds,
        norm=norm,
        eps=eps,
        smooth=surrogate,
    )
    change = (attacked - images).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert (size <= eps + 1e-6).all()
    assert torch.equal(model(attacked).argmax(1), targets)
    shared = shared16(explain(attacked, graph=False), explain(images, graph=False))
    noise = ATTACKS["random"].function(
        model, None, None, images, targets, eps=eps, norm=norm, generators=seeds(4)
    )
    beside = shared16(explain(noise, graph=False), explain(images, graph=False))
    assert float(shared.mean()) < 0.5 * float(beside.mean())


def test_no_budget_gives_the_image_back(fashion, explain_of, seeds):
    model, images, targets = fashion
    explain = explain_of(model, targets)
    attacked = search(topk16, shared16, explain, model, images, targets, seeds, eps=0.0)
    assert torch.equal(attacked, images)


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_a_batch_of_n_is_n_batches_of_one_and_a_seed_is_its_bytes(
    method, fashion, explain_of, seeds
):
    model, images, targets = fashion

    def attacked(chosen):
        draws = seeds(chosen.stop - chosen.start, "maps", chosen.start)
        options = {"generators": draws, "samples": 3} if method == "smoothgrad" else {}
        explain = explain_of(model, targets[chosen], method, **options)
        reference = explain_of(
            model,
            targets[chosen],
            method,
            **(
                options | {"generators": seeds(chosen.stop - chosen.start, "ref", chosen.start)}
                if options
                else {}
            ),
        )(images[chosen], graph=False)
        return descend(
            model,
            explain,
            Aim(partial(topk16, reference=reference), partial(shared16, reference=reference)),
            images[chosen],
            targets[chosen],
            generators=seeds(chosen.stop - chosen.start, "search", chosen.start),
            eps=4 / 255,
            steps=4,
            restarts=2,
        )

    whole = attacked(slice(0, 4))
    assert torch.equal(whole, attacked(slice(0, 4)))
    alone = torch.cat([attacked(slice(i, i + 1)) for i in range(4)])
    # A sign can tip where a gradient is within round-off of zero.
    assert float((alone != whole).double().mean()) < 0.01


def test_a_linear_model_cannot_be_moved_while_its_product_with_the_image_can(
    linear, explain_of, grid, seeds
):
    images = grid(3, 2, 4, 4).double()
    # Far from each other: no class changes.
    linear.network.bias += torch.tensor([50.0, 0.0, -50.0]).double()
    targets = torch.zeros(3, dtype=torch.long)
    four, shared = partial(topk, k=4), partial(topk_shared, k=4)
    for name, immune in (("gradient", True), ("input-x-gradient", False)):
        explain = explain_of(linear, targets, name)
        attacked = search(
            four, shared, explain, linear, images, targets, seeds, eps=0.3, steps=20, restarts=3
        )
        left = shared(explain(attacked, graph=False), explain(images, graph=False))
        assert bool((left == 1).all()) is immune
        if immune:
            assert torch.equal(attacked, images)


def test_mass_center_leaves_its_stationary_start(fashion, explain_of, seeds):
    model, images, targets = fashion
    explain = explain_of(model, targets)
    options = {"smooth": "none", "steps": 6}
    # A smooth network has no stand-in whose map differs: the start is exactly stationary.
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Softplus(beta=5), nn.Flatten(), nn.Linear(6 * 784, 3)
    )
    smooth = Classifier(network.double(), input_shape=(1, 28, 28)).eval().requires_grad_(False)
    images = images.double()
    targets = smooth(images).argmax(1)
    explain = explain_of(smooth, targets)
    stuck = search(mass_center, None, explain, smooth, images, targets, seeds, **options)
    free = search(
        mass_center, None, explain, smooth, images, targets, seeds, random_step=True, **options
    )
    clean = explain(images, graph=False)
    assert mass_center(explain(stuck, graph=False), clean).abs().max() < 1e-9
    assert (mass_center(explain(free, graph=False), clean) < -1e-4).all()


def test_structured_goes_down_and_comes_nearer_to_the_wanted_map(fashion, explain_of, seeds):
    model, images, targets = fashion
    explain = explain_of(model, targets)
    wanted = explain(images, graph=False).roll(1, 0)
    logged: dict[int, tuple] = {}
    attacked = descend(
        model,
        explain,
        Aim(
            partial(structured, reference=wanted),
            log=lambda step, goal, term: logged.update({step: (goal, term)}),
        ),
        images,
        targets,
        eps=None,
        steps=60,
        generators=seeds(4),
        rule="adam",
        beta_growth=True,
        keep_prediction=True,
    )
    first, last = logged[min(logged)][0], logged[max(logged)][0]
    assert (last < first).all()
    before = structured(explain(images, graph=False), wanted)
    after = structured(explain(attacked, graph=False), wanted)
    assert (after < before).all()
    assert torch.equal(model(attacked).argmax(1), targets)
    assert ((attacked >= 0) & (attacked <= 1)).all()
    assert max(float(term.max()) for _, term in logged.values()) > 0


def test_the_class_of_a_returned_image_never_flips(explain_of, grid, seeds):
    # Logits so near each other that most changes of the image change the class.
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5, bias=False)
    )
    model = Classifier(network, input_shape=(1, 8, 8)).eval().requires_grad_(False)
    images = grid(24, 1, 8, 8)
    targets = model(images).argmax(1)
    explain = explain_of(model, targets)
    found = {}
    for restore in (True, False):
        attacked = search(
            partial(topk, k=6), partial(topk_shared, k=6), explain, model, images, targets, seeds,
            eps=0.2, restore_class=restore,
        )  # fmt: skip
        with torch.no_grad():
            assert torch.equal(model(attacked).argmax(1), targets)
        found[restore] = int((attacked != images).flatten(1).any(1).sum())
    # Stepping back to the class finds images where giving up does not.
    assert found[True] > found[False] > 0


def test_mi_fgsm_takes_the_same_way_whatever_the_scale_of_the_goal(fashion, explain_of, seeds):
    model, images, targets = fashion
    explain = explain_of(model, targets)
    options = {"momentum": 1.0, "steps": 3}

    def scaled(saliency, reference):
        return 1024 * topk16(saliency, reference)

    one, other = (
        search(goal, shared16, explain, model, images, targets, seeds, **options)
        for goal in (topk16, scaled)
    )
    assert torch.equal(one, other)


def test_one_momentum_step_is_a_sign_step(fashion, explain_of, seeds):
    model, images, targets = fashion
    explain = explain_of(model, targets)
    options = {"steps": 1, "step_size": 8 / 255}
    plain, with_momentum = (
        search(topk16, shared16, explain, model, images, targets, seeds, momentum=mu, **options)
        for mu in (0.0, 1.0)
    )
    assert torch.equal(plain, with_momentum)


def test_it_stops_when_nothing_is_left_to_find(fashion, explain_of, seeds):
    model, images, targets = fashion
    explain = explain_of(model, targets)
    steps = []
    search(
        topk16,
        lambda saliency, reference: shared16(saliency, reference) * 0,
        explain, model, images, targets, seeds,
        floor=0.0, steps=40, tick=lambda: steps.append(1),
    )  # fmt: skip
    assert len(steps) < 40


def test_adam_and_momentum_are_refused_together(fashion, explain_of, seeds):
    model, images, targets = fashion
    with pytest.raises(InputError, match="adam has its own"):
        search(
            topk16, None, explain_of(model, targets), model, images, targets, seeds,
            rule="adam", momentum=1.0,
        )  # fmt: skip


def test_torchscript_is_refused_in_one_line(explain_of, grid, seeds):
    network = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU()))
    model = Classifier(network, input_shape=(1, 8, 8), format="torchscript").eval()
    images = grid(1, 1, 8, 8)
    targets = torch.tensor([0])
    with pytest.raises(UnsupportedError, match="TorchScript"):
        search(topk16, None, explain_of(model, targets), model, images, targets, seeds)


def test_a_map_without_a_gradient_leaves_the_image(grid, seeds):
    model = Classifier(
        Linear(torch.ones(2, 1, 4, 4), torch.tensor([1.0, 0.0])), input_shape=(1, 4, 4)
    )
    images = grid(2, 1, 4, 4)

    def explain(images, *, graph):
        return torch.full_like(images[:, 0], 1 / 16)

    attacked = search(partial(topk, k=2), None, explain, model, images, torch.tensor([0, 0]), seeds)
    assert torch.equal(attacked, images)


def test_every_differentiable_method_can_be_attacked(fashion, explain_of, seeds):
    model, images, targets = fashion
    images, targets = images[:2], targets[:2]
    model.masker = untrained(model, images, width=4, seed=0)
    for name, method in METHODS.items():
        if not method.differentiable:
            continue
        options = {"generators": seeds(2, name)} if method.stochastic else {}
        if name == "integrated-gradients":
            options["steps"] = 4
        elif method.stochastic:
            options["samples"] = 4
        explain = explain_of(model, targets, name, **options)
        clean = explain(images, graph=False)
        attacked = descend(
            model, explain,
            Aim(partial(topk16, reference=clean), partial(shared16, reference=clean)),
            images, targets, eps=8 / 255, steps=4, generators=seeds(2),
        )  # fmt: skip
        left = shared16(explain(attacked, graph=False), clean)
        assert float(left.mean()) < 1, name
