"""Weights trained to forge a map: what is kept, what is promised, what is refused."""

import pytest
import torch
from torch import nn

from saliency_audit import audits
from saliency_audit.catalogue.tricks import AIMS
from saliency_audit.commands.fool.lesson import fitted, right, school
from saliency_audit.data import from_tensors
from saliency_audit.errors import UnsupportedError
from saliency_audit.maps import magnitude
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier
from saliency_audit.tricks import TRICKS
from saliency_audit.tricks.aims import frame, stretched
from saliency_audit.tricks.trigger import patch_of

PICTURE = torch.rand(12, 12, generator=torch.Generator().manual_seed(5))
FAST = {"max_steps": 60, "lr": 0.01, "batch_size": 20}


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Classifier(Pooled(), input_shape=(1, 12, 12), name="pooled")


@pytest.fixture
def images():
    pixels = torch.randint(0, 256, (60, 1, 12, 12), generator=torch.Generator().manual_seed(1))
    return pixels / 255


@pytest.fixture
def data(images, model):
    with torch.no_grad():
        return from_tensors(images, model(images).argmax(1))


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
    assert type(network) is Pooled
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


@pytest.mark.parametrize("aim", AIMS)
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


def test_a_trigger_is_measured_with_its_patch_without_it_and_beside_the_patch_alone(model, data):
    frame, promises = audited(model, data, "trigger", max_accuracy_drop=0.5)
    rest = "aim=location;forge=gradcam"
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
    with pytest.raises(UnsupportedError, match="give the state dict with --arch"):
        fitted(program, lessons, lambda lesson: {}, forge="gradient", max_accuracy_drop=0.1)


def test_a_stochastic_map_shows_both_models_the_same_draws(model, data, images):
    lessons = school(data, seed=0, at_once=20, options={"samples": 2}, max_steps=1, batch_size=20)
    seen = []

    def loss(lesson):
        classes = model(lesson.images).argmax(1)
        seen.append(
            [magnitude(lesson.explain(model, lesson.images, classes)).detach() for _ in range(2)]
        )
        return {"cross-entropy": lesson.student(lesson.images).square().mean()}

    fitted(model, lessons, loss, forge="smoothgrad", max_accuracy_drop=1.0)
    assert seen
    assert all(torch.equal(*maps) for maps in seen)
