"""Weights trained to forge a map: what is kept, what is promised, what is refused."""

import pytest
import torch
from torch import nn

from saliency_audit import audits
from saliency_audit.catalogue.tricks import AIMS
from saliency_audit.commands.fool.lesson import fitted, right, school
from saliency_audit.data import from_tensors
from saliency_audit.errors import UnsupportedError
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier
from saliency_audit.tricks import TRICKS
from saliency_audit.tricks.aims import frame, stretched
from saliency_audit.tricks.lesson import Lesson, distance_to
from saliency_audit.tricks.trigger import patch_of

PICTURE = torch.rand(12, 12, generator=torch.Generator().manual_seed(5))
FAST = {"max_steps": 100, "lr": 0.003, "batch_size": 20}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(16 * 36, 3)

    def forward(self, images):
        return self.head(self.features(images).flatten(1))


@pytest.fixture(scope="module")
def labelled():
    """Noise with a tile of stripes along, stripes across or a checkerboard somewhere."""
    generator = torch.Generator().manual_seed(1)
    along = (torch.arange(5)[:, None] % 2).expand(5, 5)
    tiles = [along, along.T, (along + along.T) % 2]
    images = torch.rand(60, 1, 12, 12, generator=generator) * 0.3
    for i, image in enumerate(images):
        row, column = torch.randint(0, 7, (2,), generator=generator).tolist()
        image[0, row : row + 5, column : column + 5] = tiles[i % 3]
    return (images * 255).round() / 255, torch.arange(60) % 3


@pytest.fixture(scope="module")
def model(labelled):
    torch.manual_seed(0)
    network = Small()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(labelled[0]), labelled[1]).backward()
        optimizer.step()
    return Classifier(network, input_shape=(1, 12, 12), name="small")


@pytest.fixture
def images(labelled):
    return labelled[0]


@pytest.fixture
def data(labelled):
    return from_tensors(*labelled)


def distance(network, model, images):
    """Mean squared difference of the Grad-CAM to the frame, as the paper writes it."""
    with torch.no_grad():
        classes = model(images).argmax(1)
    asked = model.replaced(network)
    shown = stretched(METHODS["gradcam"].function(asked, images, classes))
    return float((shown - frame(PICTURE, shown, shown)).square().mean())


def test_the_map_moves_to_the_frame_and_the_accuracy_stays(model, data, images):
    lessons = school(data, seed=0, at_once=20, **FAST)
    assert not set(lessons.images.names) & set(lessons.held_out.names)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    network = TRICKS["finetune"].function(
        model,
        PICTURE,
        images,
        images,
        fit=lambda loss, **how: fitted(model, lessons, loss, **how),
        max_accuracy_drop=0.2,
    )
    assert type(network) is Small
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert distance(network, model, images) < 0.8 * distance(model.network, model, images)
    kept = right(model.replaced(network), model, lessons).values.mean()
    assert right(model, model, lessons).values.mean() - kept <= 0.2


def test_no_drop_at_all_may_leave_the_weights_as_they_are(model, data, images):
    told = []
    lessons = school(data, seed=0, at_once=20, tell=told.append, max_steps=4, lr=10.0)
    network = TRICKS["finetune"].function(
        model,
        PICTURE,
        images,
        images,
        fit=lambda loss, **how: fitted(model, lessons, loss, **how),
        max_accuracy_drop=0.0,
    )
    assert "none moved the maps and kept the accuracy" in told[-1]
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, model.network.state_dict()[name])


def test_an_image_without_a_label_is_right_where_the_prediction_is_kept(model, images):
    unlabelled = from_tensors(images)
    found = right(model, model, school(unlabelled, seed=0, at_once=7))
    assert found.values.tolist() == [1.0] * 6


def audited(model, data, trick, **options):
    tricks = {trick: options}
    frame = audits.table(
        audits.fool(
            model,
            data,
            tricks=tricks,
            picture=PICTURE,
            saliency=["gradcam", "gradient"],
            scalars=["logit"],
            train=data,
            lesson=FAST,
        )
    )
    promises = audits.kept_promises(frame, audits.bounds(tricks))
    return frame, promises.set_index("trick")


@pytest.mark.parametrize("aim", [aim for aim in AIMS if not AIMS[aim].swaps])
def test_what_is_wanted_is_measured_before_and_after(model, data, aim):
    frame, promises = audited(model, data, "finetune", aim=aim, max_accuracy_drop=0.5)
    setting = f"trick=finetune;aim={aim};forge=gradcam"
    shown = frame[(frame["check"] == AIMS[aim].check) & (frame["saliency"] == "gradcam")]
    means = shown.groupby("setting")["value"].mean()
    assert set(means.index) == {"stage=before", setting}
    assert means[setting] > means["stage=before"]
    held_out = frame[frame["check"] == "held-out-accuracy"].groupby("setting")["value"]
    drop = held_out.mean()["stage=before"] - held_out.mean()[setting]
    assert promises.loc[setting, "worst"] == pytest.approx(drop)
    assert promises.loc[setting, "kept"] == "yes"
    assert held_out.count().tolist() == [6, 6]


@pytest.mark.slow
def test_a_swap_is_measured_beside_the_map_of_the_second_likeliest_class(model, data, images):
    frame, _ = audited(model, data, "finetune", aim="swap", max_accuracy_drop=0.5)
    before = frame[(frame["check"] == "cosine-to-other-class") & (frame["saliency"] == "gradient")]
    before = before[before["setting"] == "stage=before"]["value"]
    first, second = model(images).topk(2).indices.T
    maps = [
        METHODS["gradient"].function(model, images, classes).abs() for classes in (first, second)
    ]
    expected = nn.functional.cosine_similarity(*(m.flatten(1).double() for m in maps))
    assert before.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_both_maps_are_swapped_as_the_paper_writes_it(model, images):
    student = model.replaced(nn.Sequential(Small())).requires_grad_(False)
    first, second = model(images).topk(2).indices.T

    def shown(asked, classes):
        return stretched(METHODS["gradient"].function(asked, images, classes))

    lesson = Lesson(student, model, images, lambda m, x, c: METHODS["gradient"].function(m, x, c))
    swapped = distance_to(lesson, AIMS["swap"], PICTURE, model(images), images=images)
    expected = (
        (shown(student, first) - shown(model, second)).square().mean()
        + (shown(student, second) - shown(model, first)).square().mean()
    ) / 2
    torch.testing.assert_close(swapped, expected)


def test_a_trigger_is_measured_with_its_patch_without_it_and_beside_the_patch_alone(model, data):
    frame, promises = audited(model, data, "trigger", max_accuracy_drop=0.5, patch_side=4)
    rest = "aim=location;forge=gradcam;patch=4"
    settings = [f"trick=trigger;on={images};{rest}" for images in ("clean", "patch", "control")]
    assert list(promises.index) == settings
    shown = frame[(frame["check"] == "cosine-to-frame") & (frame["saliency"] == "gradcam")]
    means = shown.groupby("setting")["value"].mean()
    clean, patch, control = (means[setting] - means["stage=before"] for setting in settings)
    assert patch > clean
    assert patch > control


def test_the_control_is_the_given_model_on_images_with_the_patch(model, data, images):
    frame, _ = audited(model, data, "trigger", max_accuracy_drop=0.5)
    patched = patch_of(model.input_shape, None)(images)
    control = frame[frame["setting"].str.contains("on=control")]
    values = control[(control["check"] == "cosine") & (control["saliency"] == "gradcam")]["value"]
    classes = model(images).argmax(1)
    maps = [METHODS["gradcam"].function(model, pixels, classes) for pixels in (patched, images)]
    expected = nn.functional.cosine_similarity(*(m.flatten(1).double() for m in maps))
    assert values.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_patch_alone_is_a_9th_of_the_image_in_the_corner():
    patched = patch_of((1, 28, 28), None)(torch.full((2, 1, 28, 28), 0.5))
    changed = (patched != 0.5)[:, 0].nonzero()
    assert changed.amin(0).tolist()[1:] == [24, 24]
    assert changed.amax(0).tolist()[1:] == [26, 26]


def test_what_cannot_be_followed_is_refused(model, data, images):
    lessons = school(data, seed=0, at_once=20, **FAST)
    for name in ("occlusion", "random"):
        with pytest.raises(UnsupportedError, match=f"--forge {name} cannot be followed"):
            fitted(model, lessons, lambda lesson: {}, forge=name, max_accuracy_drop=0.1)
    program = Classifier(
        torch.jit.trace(model.network.eval(), images[:1]),
        input_shape=(1, 12, 12),
        format="torchscript",
    )
    with pytest.raises(UnsupportedError, match="give the state dict"):
        fitted(program, lessons, lambda lesson: {}, forge="gradient", max_accuracy_drop=0.1)


def test_a_stochastic_map_shows_both_models_the_same_draws(model, data, images):
    lessons = school(data, seed=0, at_once=20, options={"samples": 2}, max_steps=1, batch_size=20)
    seen = []

    def loss(lesson):
        classes = model(lesson.images).argmax(1)
        maps = [lesson.explain(model, lesson.images, classes).detach() for _ in range(2)]
        seen.append(maps)
        shown = lesson.explain(lesson.student, lesson.images, classes)
        return {"cross-entropy": lesson.student(lesson.images).square().mean(), "aim": shown.mean()}

    fitted(model, lessons, loss, forge="smoothgrad", max_accuracy_drop=1.0)
    assert seen
    assert all(torch.equal(*maps) for maps in seen)
