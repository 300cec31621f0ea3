import functools
import operator
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saliency_audit.catalogue.entries import Objective
from saliency_audit.data import ImageData, from_tensors
from saliency_audit.data.images import Unreadable
from saliency_audit.errors import AuditError, InputError
from saliency_audit.models import Classifier
from saliency_audit.training import OBJECTIVES, Recipe
from saliency_audit.training.loop import options_of, train
from saliency_audit.training.step import Loss, Step

SHAPE = (1, 6, 6)


def classifier(*, batch_norm: bool = True, dropout: float = 0.3) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(4 * 36, 3),
        )
    return Classifier(network, input_shape=SHAPE)


@pytest.fixture(scope="module")
def data() -> ImageData:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, *SHAPE, generator=generator)
    return from_tensors(images, torch.arange(40) % 3)


def weights(model: Classifier) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def trained(model: Classifier, data: ImageData, name: str = "cross-entropy", **given):
    return list(train(model, data, OBJECTIVES[name], **given))


RECIPE = Recipe(epochs=2, batch_size=8, lr=0.05, augment="flip-crop")


def test_plain_training_is_what_a_plain_loop_does(data: ImageData) -> None:
    model = classifier(dropout=0.0)
    twin = classifier(dropout=0.0).network.train()
    seen: list[Tensor] = []

    def watching(step: Step) -> Loss:
        seen.append(step.images)
        return OBJECTIVES["cross-entropy"].function(step)

    steps = list(
        train(
            model,
            data,
            Objective(watching, "", ""),
            recipe=Recipe(epochs=2, batch_size=10, lr=0.1, schedule="constant", weight_decay=0.01),
        )
    )
    assert [step.step for step in steps] == list(range(1, 9))
    assert steps[-1].steps == 8
    assert steps[3].epoch == 1
    assert steps[-1].epoch == 2
    # Every image once an epoch, in another order each time.
    by_epoch = [torch.cat(seen[:4]), torch.cat(seen[4:])]
    pixels = torch.stack([image for _, _, image in data]).flatten(1)
    for images in by_epoch:
        assert torch.equal(images.flatten(1).sum(1).sort()[0], pixels.sum(1).sort()[0])
    assert not torch.equal(*by_epoch)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    labels = dict(zip(map(tuple, pixels.tolist()), data.labels.tolist(), strict=True))
    for images, step in zip(seen, steps, strict=True):
        own = torch.tensor([labels[tuple(image.flatten().tolist())] for image in images])
        loss = F.cross_entropy(twin(images), own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert step.values["loss"] == pytest.approx(loss.item(), abs=1e-7)
    assert same(weights(model), dict(twin.state_dict()))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross-entropy", {}),
        ("score-matching", {"weight": 1e-4}),
        ("pgd", {"eps": 0.1, "steps": 2}),
        ("adversarial", {"penalty": "l1", "replay": 3}),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_training_ends_with_the_same_weights(
    data: ImageData, name: str, options: dict, optimizer: str
) -> None:
    recipe = replace(RECIPE, optimizer=optimizer)
    whole = classifier()
    trained(whole, data, name, recipe=recipe, options=options)
    first = classifier()
    # Free training is stopped amid the steps on one batch.
    loop = train(first, data, OBJECTIVES[name], recipe=recipe, options=options)
    state = list(islice(loop, 4))[-1].state()
    loop.close()
    again = classifier()
    rest = trained(again, data, name, recipe=recipe, options=options, state=state)
    assert [step.step for step in rest] == [5, 6, 7, 8, 9, 10]
    assert same(weights(whole), weights(again))
    assert not same(weights(whole), weights(first))


def test_the_seed_decides_and_the_global_generator_does_not(data: ImageData) -> None:
    ends = []
    for global_seed, seed in ((1, 0), (2, 0), (1, 5)):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        model = classifier()
        trained(model, data, recipe=RECIPE, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        ends.append(weights(model))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


def without(data: ImageData, *broken: int) -> ImageData:
    """The same images, some of which cannot be read."""

    def read(position: int) -> Tensor:
        if position in broken:
            raise Unreadable("broken")
        return data.read(position)

    return replace(data, read=read)


@pytest.mark.parametrize("broken", [(), (3, 17, 30)])
def test_parts_of_a_step_add_up(data: ImageData, broken: tuple[int, ...]) -> None:
    data = without(data, *broken)
    ends = []
    for parts in (1, 4):
        model = classifier(batch_norm=False, dropout=0.0)
        recipe = replace(RECIPE, accumulate=parts)
        steps = trained(model, data, "gradient-norm", recipe=recipe, options={"weight": 0.1})
        ends.append((weights(model), steps[-1].values))
        # In each of two epochs.
        assert steps[-1].unreadable == 2 * len(broken)
        assert steps[-1].state()["unreadable"] == 2 * len(broken)
    for name, value in ends[0][0].items():
        assert torch.allclose(value, ends[1][0][name], atol=1e-6)
    for name in ("loss", "cross-entropy", "train_accuracy"):
        assert ends[0][1][name] == pytest.approx(ends[1][1][name], abs=1e-5)


def test_what_is_frozen_stays_and_modes_come_back(data: ImageData) -> None:
    model = classifier()
    model.network[0].requires_grad_(False)
    model.network.eval()
    model.network[4].train()
    before = weights(model)
    trained(model, data, recipe=replace(RECIPE, freeze_bn=True))
    after = weights(model)
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert torch.equal(before["1.running_mean"], after["1.running_mean"])
    assert not torch.equal(before["1.weight"], after["1.weight"])
    assert not torch.equal(before["5.weight"], after["5.weight"])
    assert [module.training for module in model.network] == [False] * 4 + [True, False]
    assert not model.network[0].weight.requires_grad


def test_nothing_to_train_is_said(data: ImageData) -> None:
    model = classifier()
    model.network.requires_grad_(False)
    with pytest.raises(InputError, match="all weights of model are frozen"):
        trained(model, data, recipe=RECIPE)


def test_statistics_move_once_a_step_and_not_when_the_network_is_tried(data: ImageData) -> None:
    model = classifier(dropout=0.0)
    trained(model, data, "score-matching", recipe=replace(RECIPE, max_steps=3))
    assert int(model.network[1].num_batches_tracked) == 3


@pytest.mark.parametrize(
    ("batch_norm", "dropout", "freeze", "expected"),
    [(True, 0.0, False, 2), (True, 0.0, True, 1), (False, 0.5, True, 2), (False, 0.0, False, 1)],
)
def test_a_second_pass_is_made_only_where_the_mode_matters(
    data: ImageData, batch_norm: bool, dropout: float, freeze: bool, expected: int
) -> None:
    model = classifier(batch_norm=batch_norm, dropout=dropout)
    recipe = replace(RECIPE, max_steps=2, freeze_bn=freeze)
    loop = train(model, data, OBJECTIVES["gradient-norm"], recipe=recipe)
    next(loop)
    before = model.passes
    next(loop)
    assert model.passes - before == expected * recipe.batch_size
    loop.close()


def test_replay_shows_each_batch_so_often(data: ImageData) -> None:
    model = classifier(batch_norm=False, dropout=0.0)
    shown: list[Tensor] = []

    def watching(step: Step, *, replay: int = 1) -> Loss:
        shown.append(step.images)
        return OBJECTIVES["cross-entropy"].function(step)

    recipe = Recipe(epochs=1, batch_size=8)
    list(train(model, data, Objective(watching, "", ""), recipe=recipe, options={"replay": 2}))
    assert len(shown) == 5
    assert torch.equal(shown[0], shown[1])
    assert torch.equal(shown[2], shown[3])
    assert not torch.equal(shown[1], shown[2])


def test_the_images_of_a_step_do_not_depend_on_who_takes_them(data: ImageData) -> None:
    from saliency_audit.training.loop import _order

    def parts(world: int, accumulate: int) -> list[list[int]]:
        recipe = Recipe(batch_size=8, accumulate=accumulate)
        shares = [
            list(_order(40, recipe, seed=1, batches=range(7), share=(rank, world)))
            for rank in range(world)
        ]
        whole = []
        for number in range(7):
            mine = [s[number * accumulate : (number + 1) * accumulate] for s in shares]
            whole.append([i for of_rank in mine for part in of_rank for i in part])
        return whole

    assert parts(1, 1) == parts(2, 1) == parts(2, 2) == parts(4, 2)
    assert sorted(functools.reduce(operator.iadd, parts(1, 1)[:5], [])) == list(range(40))


class Diverging:
    def __init__(self, at: int, kind: Callable[[Tensor], Tensor]) -> None:
        self.at, self.kind, self.calls = at, kind, 0

    def __call__(self, step: Step, *, weight: float = 0.5) -> Loss:
        self.calls += 1
        loss = OBJECTIVES["cross-entropy"].function(step)
        term = loss.terms["cross-entropy"] * 0
        return Loss(
            {**loss.terms, "own": self.kind(term) if self.calls == self.at else term}, loss.logits
        )


def test_a_loss_that_is_not_finite_ends_it_before_the_weights_change(data: ImageData) -> None:
    model = classifier()
    objective = Objective(Diverging(3, torch.log), "", "")
    loop = train(model, data, objective, recipe=RECIPE)
    next(loop), next(loop)
    before = {name: p.clone() for name, p in model.network.named_parameters()}
    with pytest.raises(
        AuditError, match=r"diverged at step 3: .*own -inf\); lower --lr \(now 0.05\) or --weight"
    ):
        next(loop)
    after = dict(model.network.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_collapsed_trace_ends_it(data: ImageData) -> None:
    def collapsed(step: Step, *, weight: float = 1.0, mu: float = 1e-5) -> Loss:
        loss = OBJECTIVES["cross-entropy"].function(step)
        return Loss(loss.terms, loss.logits, {"trace": torch.tensor(-2e6)})

    with pytest.raises(
        AuditError, match=r"collapsed at step 1: .*-2e\+06.*raise --mu \(now 1e-05\)"
    ):
        list(train(classifier(), data, Objective(collapsed, "", ""), recipe=RECIPE))


def test_it_says_when_it_was_asked_to_stop(data: ImageData) -> None:
    answers = iter([False, True, False])
    loop = train(
        classifier(),
        data,
        OBJECTIVES["cross-entropy"],
        recipe=RECIPE,
        stopping=lambda: next(answers),
    )
    assert [step.stop for step in islice(loop, 3)] == [False, True, False]


def test_targets_and_annotations_move_with_their_images(data: ImageData) -> None:
    pixels = {name: image for name, _, image in data}
    seen = []

    def watching(step: Step) -> Loss:
        assert step.targets is not None
        assert step.annotations is not None
        assert torch.equal(step.targets, step.images)
        assert torch.equal(step.annotations, step.images[:, 0])
        seen.append(step.images)
        return OBJECTIVES["cross-entropy"].function(step)

    def targets(names):
        return torch.stack([pixels[name] for name in names])

    list(
        train(
            classifier(),
            data,
            Objective(watching, "", ""),
            recipe=RECIPE,
            targets=targets,
            annotations=lambda names: targets(names)[:, 0],
        )
    )
    assert len(seen) == 10


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if "weight" in options_of(OBJECTIVES[n])])
def test_without_weight_every_regulariser_is_plain_training(data: ImageData, name: str) -> None:
    plain, other = classifier(), classifier()
    trained(plain, data, recipe=RECIPE)

    def targets(names):
        return torch.ones(len(names), *SHAPE)

    trained(other, data, name, recipe=RECIPE, options={"weight": 0.0}, targets=targets)
    assert same(weights(plain), weights(other))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 0}, "--epochs is 0"),
        ({"max_steps": 0}, "--max-steps is 0"),
        ({"batch_size": 64}, "--train-batch-size is 64 but there are 40 training images"),
        ({"batch_size": 9, "accumulate": 2}, "give a multiple of 2"),
        ({"augment": "mixup"}, "--augment is 'mixup'"),
        ({"lr": float("nan")}, "--lr is nan"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(data: ImageData, changes: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        trained(classifier(), data, recipe=replace(RECIPE, **changes))


def test_parts_and_replay_do_not_go_together(data: ImageData) -> None:
    recipe = replace(RECIPE, accumulate=2)
    with pytest.raises(InputError, match="leave one of them"):
        trained(classifier(), data, "adversarial", recipe=recipe, options={"replay": 2})


def test_a_batch_that_is_shown_again_is_augmented_alike(data: ImageData) -> None:
    shown: list[Tensor] = []

    def watching(step: Step, *, replay: int = 1) -> Loss:
        shown.append(step.images)
        return OBJECTIVES["cross-entropy"].function(step)

    list(train(classifier(), data, Objective(watching, "", ""), recipe=RECIPE,
               options={"replay": 2}))  # fmt: skip
    assert torch.equal(shown[0], shown[1])
    assert not torch.equal(shown[1], shown[2])


@pytest.mark.parametrize("parts", [1, 2])
def test_one_norm_over_a_step_is_not_taken_of_its_parts(data: ImageData, parts: int) -> None:
    recipe, options = replace(RECIPE, accumulate=parts), {"reduction": "minibatch"}
    if parts == 1:
        trained(classifier(), data, "gradient-norm", recipe=recipe, options=options)
        return
    with pytest.raises(InputError, match="give --reduction per-sample"):
        trained(classifier(), data, "gradient-norm", recipe=recipe, options=options)


def test_what_a_launcher_says_changes_nothing(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for launched in (False, True):
        if launched:
            monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
            monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
        model = classifier()
        trained(model, data, "gradient-norm", recipe=RECIPE)
        ends.append(weights(model))
    assert same(*ends)


def test_a_network_with_auxiliary_outputs_is_refused(data: ImageData) -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(36, 3)

        def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            logits = self.head(images.flatten(1))
            return (logits, logits) if self.training else logits

    with pytest.raises(InputError, match="returns a tuple in training mode"):
        trained(Classifier(Auxiliary(), input_shape=SHAPE), data, recipe=RECIPE)


def annotated(data: ImageData, marked: Tensor) -> Tensor:
    """What the first step has of annotations that are the same for each image."""
    seen: list[Tensor] = []

    def watching(step: Step) -> Loss:
        assert step.annotations is not None
        seen.append(step.annotations)
        return OBJECTIVES["cross-entropy"].function(step)

    list(
        train(
            classifier(),
            data,
            Objective(watching, "", ""),
            recipe=replace(RECIPE, max_steps=1),
            annotations=lambda names: marked.expand(len(names), 6, 6),
        )
    )
    return seen[0]


def test_annotations_of_255_are_those_of_1(data: ImageData) -> None:
    one = annotated(data, torch.eye(6))
    assert torch.equal(one, annotated(data, 255 * torch.eye(6)))
    assert one.amax() == 1


def test_what_is_alike_everywhere_marks_nothing_though_it_is_moved(data: ImageData) -> None:
    assert not annotated(data, torch.ones(6, 6)).any()


def test_a_part_without_any_image_ends_it_in_one_line(data: ImageData) -> None:
    recipe = replace(RECIPE, accumulate=4)
    with pytest.raises(AuditError, match=r"no image of a batch can be read; .*broken"):
        trained(classifier(), without(data, *range(0, 40, 2), *range(1, 20, 2)), recipe=recipe)


class Seldom(nn.Module):
    """Random in training, and hardly ever to be seen: it drops one image in ten thousand."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        return images * (torch.rand(len(images), 1, 1, 1) > 1e-4)


def test_what_is_seldom_random_is_random(data: ImageData) -> None:
    seen: list[bool] = []

    def watching(step: Step) -> Loss:
        seen.append(step.one_mode)
        return OBJECTIVES["cross-entropy"].function(step)

    plain = classifier(batch_norm=False, dropout=0.0)
    for network in (plain.network, nn.Sequential(Seldom(), plain.network)):
        model = Classifier(network, input_shape=SHAPE)
        list(train(model, data, Objective(watching, "", ""), recipe=replace(RECIPE, max_steps=1)))
    assert seen == [True, False]
