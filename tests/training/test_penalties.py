"""Every penalty against its conjugate, random changes, known special cases and slow minima."""

import pytest
import torch

from saliency_audit.errors import InputError
from saliency_audit.training.penalties import PENALTIES, Elastic, Groups, Largest, Options

EPS, EPS2, SIDE = 0.3, 0.2, 4
SHAPE = (3, 2, 10, 7)  # Neither side is a multiple of the patch's.


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def marks():
    marked = torch.rand(3, 10, 7, generator=torch.Generator().manual_seed(5)).double()
    marked[1] = 0
    return marked


def built(name, **changes):
    options = {"eps": EPS, "eps2": EPS2, "group": SIDE, "joint_channels": False}
    return PENALTIES[name].build(Options(**{**options, "annotations": marks(), **changes}))


CASES = [(name, {}) for name in PENALTIES] + [("group", {"joint_channels": True})]


def patches(joint):
    """The groups, as index lists written out one by one."""
    channels = [[0, 1]] if joint else [[0], [1]]
    for channel in channels:
        for row in range(0, 10, SIDE):
            for column in range(0, 7, SIDE):
                member = torch.zeros(SHAPE[1:], dtype=torch.bool)
                member[channel, row : row + SIDE, column : column + SIDE] = True
                yield member


def norm(name, g, joint):
    """h*, literally, of one image's gradient and its annotations."""
    image, marked = g
    if name == "l1":
        return EPS * image.abs().sum()
    if name == "l2":
        return EPS * image.square().sum().sqrt()
    if name == "linf":
        return EPS * image.abs().max()
    if name == "group":
        return EPS * sum(image[member].norm() for member in patches(joint))
    if name == "elastic":
        return EPS * image.abs().sum() + EPS2 * image.square().sum()
    if not marked.max():
        return image.new_tensor(0.0)
    return (EPS * (1 - marked / marked.max()) * image.square()).sum()


def feasible(name, delta, joint):
    """A random change scaled to the surface of the ball, where there is one."""
    if name == "l1":
        return EPS * delta / delta.abs().flatten(1).amax(1).view(-1, 1, 1, 1)
    if name == "l2":
        return EPS * delta / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    if name == "linf":
        return EPS * delta / delta.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
    if name == "group":
        for member in patches(joint):
            delta[:, member] *= EPS / delta[:, member].norm(dim=1, keepdim=True)
    return delta


def gain(penalty, gradient, change):
    return (gradient * change).flatten(1).sum(1) - penalty.value(change)


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_the_solution_attains_the_norm_and_beats_random_changes(name, changes):
    penalty, joint = built(name, **changes), bool(changes)
    gradient = randn(*SHAPE)
    expected = [norm(name, g, joint) for g in zip(gradient, marks(), strict=True)]
    torch.testing.assert_close(penalty.conjugate(gradient), torch.stack(expected))
    solution = penalty.solution(gradient)
    best = gain(penalty, gradient, solution)
    torch.testing.assert_close(best, torch.stack(expected))
    generator = torch.Generator().manual_seed(1)
    finite = 0
    for trial in range(1000):
        noise = torch.randn(*SHAPE, generator=generator).double()
        # Near the solution as well as far from it: close rivals are what a wrong factor loses to.
        size = 10.0 ** -(trial % 5)
        rival = feasible(name, solution + size * noise * solution.abs().clamp_min(1e-3), joint)
        if name == "weighted":
            rival = torch.where(solution == 0, 0, rival)
        gained = gain(penalty, gradient, rival)
        finite += int(gained.isfinite().all())
        assert (gained <= best + 1e-12).all()
    assert finite == 1000


@pytest.mark.parametrize("name", ["l1", "l2", "linf", "group"])
def test_outside_of_a_ball_the_penalty_is_infinite(name):
    penalty = built(name)
    surface = feasible(name, randn(*SHAPE), joint=False)
    assert penalty.value(surface).tolist() == [0, 0, 0]
    assert (penalty.value(1.001 * surface) == torch.inf).all()


def test_what_is_marked_most_cannot_move_and_images_without_marks_stay():
    penalty = built("weighted")
    solution = penalty.solution(randn(*SHAPE))
    most = marks()[0] == marks()[0].max()
    assert (solution[0, :, most] == 0).all()
    assert (solution[0, :, ~most] != 0).all()
    assert (solution[1] == 0).all()
    assert penalty.value(torch.full(SHAPE, 0.1).double())[1] == torch.inf


def test_l1_is_the_fast_gradient_sign_method_bitwise():
    gradient = randn(*SHAPE).float()
    gradient[0, 0, :3] = 0
    assert torch.equal(built("l1").solution(gradient), EPS * gradient.sign())


def test_one_group_is_the_l2_norm_and_groups_of_one_pixel_are_the_l1_norm():
    gradient, t = randn(*SHAPE), torch.ones(3).double()
    for coarse, exact in (
        (Groups(EPS, 10, joint=True), Groups(EPS)),
        (Groups(EPS, 64, joint=True), Groups(EPS)),
        (Groups(EPS, 1), Elastic(EPS, 0.0)),
    ):
        torch.testing.assert_close(coarse.conjugate(gradient), exact.conjugate(gradient))
        torch.testing.assert_close(coarse.solution(gradient), exact.solution(gradient))
        torch.testing.assert_close(coarse.prox(gradient, t), exact.prox(gradient, t))


def test_the_elastic_net_ends_in_the_l1_norm_and_in_the_scaled_gradient():
    gradient = randn(*SHAPE)
    torch.testing.assert_close(
        Elastic(EPS, 1e-12).solution(gradient), built("l1").solution(gradient)
    )
    torch.testing.assert_close(Elastic(0.0, EPS2).solution(gradient), 2 * EPS2 * gradient)


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_no_change_near_the_proximal_point_is_better(name, changes):
    penalty, t = built(name, **changes), torch.tensor([0.1, 1.0, 30.0]).double()
    change = randn(*SHAPE, seed=3)
    change[2] *= 1e-4  # Within every ball.
    found = penalty.prox(change, t)

    def cost(d):
        return (d - change).square().flatten(1).sum(1) / 2 + t * penalty.value(d)

    best = cost(found)
    assert best.isfinite().all()
    # The cost is strongly convex: a minimum beats every d by half the square of the distance.
    tried = 0
    for seed in range(300):
        rival = found + 10.0 ** -(seed % 5) * randn(*SHAPE, seed=seed) * (found != 0)
        # Rivals inside the ball, some of them on the segment to the best.
        for rival_in in (penalty.prox(rival, 0 * t), found * (1 - 0.5 ** (seed % 9))):
            worse = (rival_in - found).square().flatten(1).sum(1) / 2
            assert (cost(rival_in) >= best + worse - 1e-9).all()
            tried += int((worse > 0).any())
    assert tried > 300


def test_points_of_a_ball_are_their_own_nearest():
    inside = 0.999 * feasible("linf", randn(*SHAPE), joint=False)
    t = torch.ones(3).double()
    for name in ("l1", "l2", "linf", "group"):
        torch.testing.assert_close(built(name).prox(inside, t), inside)


def test_the_l1_ball_is_reached_where_all_pixels_shrink_alike():
    change = torch.tensor([[[[3.0, -1.0, 0.5, 0.0]]]])
    found = Largest(3.0).prox(change, torch.ones(1))
    torch.testing.assert_close(found, torch.tensor([[[[2.5, -0.5, 0.0, 0.0]]]]))


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_a_gradient_of_zero_moves_nothing(name, changes):
    penalty, zero = built(name, **changes), torch.zeros(SHAPE).double()
    assert torch.equal(penalty.solution(zero), zero)
    assert torch.equal(penalty.direction(zero), zero)
    assert (penalty.prox(zero, torch.zeros(3)) == 0).all()


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match="--penalty weighted needs --annotations"):
        built("weighted", annotations=None)
    with pytest.raises(InputError, match="--eps2 is 0"):
        built("elastic", eps2=0.0)
