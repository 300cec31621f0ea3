"""The whole audit from Python: the user's own module and tensors, rows out."""

from importlib import import_module
from math import tanh

import pytest
import torch
from torch import nn

from saliency_audit import audits
from saliency_audit.data import from_tensors
from saliency_audit.errors import AuditError, InputError, UnsupportedError
from saliency_audit.methods import METHODS
from saliency_audit.metrics import CHECKS
from saliency_audit.models import Classifier, untrained
from saliency_audit.stats.summary import summarise
from saliency_audit.types import COLUMNS

PICTURE = torch.zeros(12, 12)
PICTURE[3:9, 2:4] = 1.0
PICTURE[5:7, 4:10] = 0.5


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU())
        self.head = nn.Linear(5, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Pooled(), input_shape=(3, 12, 12), mean=0.5, std=0.2, name="pooled")


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(9, 3, 12, 12, generator=generator)
    return from_tensors(images, torch.randint(0, 4, (9,), generator=generator))


def rows(model, data, **options):
    options = {
        "picture": PICTURE,
        "saliency": ["gradient", "gradcam", "smoothgrad", "random"],
        "options": {"samples": 4},
    } | options
    return audits.table(audits.fool(model, data, **options))


def verdicts_of(frame, tricks):
    summary = summarise(
        frame, higher_is_better={name: check.higher_is_better for name, check in CHECKS.items()}
    )
    kept = audits.all_kept(audits.kept_promises(frame, audits.bounds(tricks)))
    verdicts = audits.fool_verdicts(summary, kept, frame)
    return verdicts.set_index(["saliency", "scalar"])["verdict"], kept


def test_logit_maps_are_forged_and_softmax_maps_are_not(model, data):
    frame = rows(model, data, tricks=["logit-shift"])
    assert tuple(frame.columns) == COLUMNS
    verdict, kept = verdicts_of(frame, {"logit-shift": {}})
    assert all(kept.values())
    assert verdict["gradient", "logit"] == verdict["smoothgrad", "logit"] == "forged"
    for scalar in ("log-prob", "loss"):
        assert verdict["gradient", scalar] == verdict["gradcam", scalar] == "unmoved"
    assert verdict["gradcam", "logit"] == "unmoved"
    of_model = frame[frame["setting"] == "trick=logit-shift;shift=linear"]
    assert of_model.loc[of_model["check"] == "prediction-kept", "value"].eq(1).all()
    assert of_model.loc[of_model["check"] == "prob-change", "value"].max() < 1e-5
    agreement = frame[frame["check"] == "scalar-agreement"].groupby("setting")["value"].mean()
    assert agreement["stage=before"] - agreement["trick=logit-shift;shift=linear"] > 0.3


def test_head_moves_gradcam(model, data):
    frame = rows(model, data, tricks={"logit-shift": {"shift": "head"}})
    verdict, kept = verdicts_of(frame, {"logit-shift": {"shift": "head"}})
    assert all(kept.values())
    cosine = frame[(frame["check"] == "cosine") & (frame["saliency"] == "gradcam")]
    moved = cosine.groupby("scalar")["value"].mean()
    assert moved["logit"] < 0.9
    assert moved["log-prob"] > 0.999
    assert verdict["gradcam", "logit"] in ("disturbed", "forged")


def test_cancel_forges_exactly(model, data):
    frame = rows(model, data, tricks={"logit-shift": {"shift": "cancel"}}, saliency=["gradient"])
    after = frame[(frame["check"] == "cosine-to-picture") & (frame["scalar"] == "logit")]
    after = after[after["setting"].str.startswith("trick")]
    assert after["value"].min() > 0.9999


@pytest.mark.parametrize(
    ("form", "prob_bound"),
    [("per-class", tanh(5e-4)), ("dummy-class", 2e-3), ("wrapper", 1e-6)],
)
def test_every_form_of_the_sine_keeps_its_promise(model, data, form, prob_bound):
    tricks = {"loss-sine": {"form": form, "eps": 1e-3}}
    frame = rows(model, data, tricks=tricks)
    verdict, kept = verdicts_of(frame, tricks)
    assert all(kept.values())
    changed = frame.loc[frame["check"] == "prob-change", "value"]
    assert changed.max() <= prob_bound + 1e-6
    cosine = frame[(frame["check"] == "cosine") & (frame["saliency"] == "gradient")]
    assert cosine[cosine["scalar"] == "loss"]["value"].mean() < 0.9
    assert verdict["gradient", "loss"] in ("forged", "disturbed")


def test_the_model_is_measured_as_it_was_saved(model, data, tmp_path, monkeypatch):
    rows(model, data, tricks=["logit-shift"], folder=tmp_path, saliency=["gradient"])
    program = torch.export.load(tmp_path / "logit-shift.pt2").module()
    images = torch.stack([data[i].image for i in range(len(data))])
    normalised = (images - 0.5) / 0.2
    before = model.network(normalised)
    assert (program(normalised).softmax(1) - before.softmax(1)).abs().max() < 1e-5
    assert (program(normalised) - before).abs().max() > 1e-3

    # A file that holds something else than what was made is noticed.
    def save_another(network, path, **options):
        from saliency_audit.models import save

        save(Pooled(), path, **options)

    monkeypatch.setattr("saliency_audit.commands.fool.forgery.save", save_another)
    with pytest.raises(AuditError, match="gives logits"):
        rows(model, data, tricks=["logit-shift"], folder=tmp_path, saliency=["gradient"])


def test_numbers_do_not_depend_on_the_batch(model, data):
    whole = rows(model, data, tricks=["logit-shift"])
    parts = rows(model, data, tricks=["logit-shift"], batch_size=2)
    keys = ["image", "saliency", "scalar", "check", "setting"]
    both = whole.merge(parts, on=keys, validate="one_to_one")
    assert len(both) == len(whole) == len(parts)
    for _, check in both.groupby("check"):
        gap = (check["value_x"].astype(float) - check["value_y"].astype(float)).abs().max()
        assert not gap > 2e-4


def test_the_same_seed_gives_the_same_rows(model, data):
    assert rows(model, data, seed=3).equals(rows(model, data, seed=3))


def test_batches_that_are_done_are_not_computed(model, data):
    yielded = list(
        audits.fool(
            model,
            data,
            picture=PICTURE,
            saliency=["gradient"],
            batch_size=2,
            begin=lambda: {0, 1, 4},
        )
    )
    assert [batch.index for batch in yielded] == [2, 3]


def test_explaining_labels_that_are_missing_is_undefined(model, data):
    images = torch.stack([data[i].image for i in range(len(data))])
    frame = rows(model, from_tensors(images), target="label", saliency=["gradient"])
    of_maps = frame[frame["check"] == "cosine-to-picture"]
    assert set(of_maps["status"]) == {"undefined"}
    assert set(frame[frame["check"] == "accuracy"]["status"]) == {"undefined"}


def test_a_model_with_a_constant_map_is_undefined_not_averaged(data):
    class Constant(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :2, 0, 0] * 0 + torch.tensor([1.0, 0.0])

    with pytest.raises(UnsupportedError, match="zero"):
        rows(Classifier(Constant(), input_shape=(3, 12, 12)), data, saliency=["gradient"])


def test_the_users_module_comes_back_as_it_was(model, data):
    model.network.train()
    model.network.head.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows(model, data)
    assert model.network.training
    assert model.network.features[0].weight.requires_grad
    assert not model.network.head.weight.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_unknown_names_are_refused_before_anything_runs(model, data):
    with pytest.raises(InputError, match="Did you mean 'gradient'"):
        rows(model, data, saliency=["gradiant"])
    with pytest.raises(InputError, match="unknown scalar"):
        rows(model, data, scalars=["logits"])
    with pytest.raises(InputError, match="unknown trick"):
        rows(model, data, tricks=["shift"])


def test_a_method_the_model_does_not_allow_is_refused_by_name_and_left_out_otherwise(data):
    torch.manual_seed(0)
    gelu = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(400, 4))
    model = Classifier(gelu, input_shape=(3, 12, 12))
    with pytest.raises(UnsupportedError):
        rows(model, data, saliency=["guided-backprop"])
    told: list[str] = []
    frame = rows(
        model,
        data,
        tricks=["logit-shift"],
        saliency=None,
        scalars=["logit"],
        options={"samples": 2, "steps": 2},
        tell=told.append,
    )
    assert any(line.startswith("guided-backprop left out") for line in told)
    assert "guided-backprop" not in set(frame["saliency"])


def test_maps_of_the_loss_follow_from_those_of_the_log_probability(model, data):
    images = torch.stack([data[i].image for i in range(4)])
    targets = torch.tensor([0, 1, 2, 3])
    with model.audited():
        model.masker = untrained(model, images, width=4, seed=0)
        for name, method in METHODS.items():
            if not method.parity:
                continue
            maps = {
                scalar: audits.explain(
                    name,
                    model,
                    images,
                    targets,
                    names=list("abcd"),
                    scalar=scalar,
                    seed=0,
                    batch_size=None,
                    options={"samples": 3, "steps": 3},
                )
                for scalar in ("loss", "log-prob")
            }
            torch.testing.assert_close(maps["loss"], method.parity * maps["log-prob"])


def test_running_out_of_memory_halves_the_batch_and_says_so(model, data, monkeypatch):
    forward = Classifier.forward

    def small(self, images):
        if len(images) > 4:
            raise torch.OutOfMemoryError
        return forward(self, images)

    monkeypatch.setattr(
        import_module("saliency_audit.commands.fool.audit"),
        "predict",
        lambda model, images, batch_size: torch.cat([model(part) for part in images.split(2)]),
    )
    expected = rows(model, data, tricks=[], saliency=["smoothgrad"], batch_size=16)
    monkeypatch.setattr(Classifier, "forward", small)
    monkeypatch.setattr(Classifier, "check", lambda self, images: 4)
    told: list[str] = []
    got = rows(model, data, tricks=[], saliency=["smoothgrad"], batch_size=16, tell=told.append)
    assert any("--batch-size 4" in line for line in told)
    gap = (expected["value"].astype(float) - got["value"].astype(float)).abs().max()
    assert gap < 1e-5


def test_a_method_that_the_forged_model_does_not_allow_is_undefined_there_alone(model, data):
    # FullGrad's terms no longer add up on most images.
    frame = rows(model, data, tricks=["loss-sine"], saliency=["gradient", "fullgrad"])
    maps = frame[(frame["saliency"] == "fullgrad") & (frame["check"] == "cosine-to-picture")]
    status = maps.groupby("setting")["status"].agg(set).to_dict()
    assert status["stage=before"] == {"ok"}
    assert "undefined" in status["trick=loss-sine;form=per-class;eps=0.001"]
    verdict, _ = verdicts_of(frame, {"loss-sine": {}})
    assert verdict["fullgrad", "logit"] == "undefined"
    assert verdict["gradient", "logit"] == "forged"


def test_what_was_not_measured_is_never_a_good_verdict(model, data):
    tricks = {"logit-shift": {}}
    frame = rows(model, data, tricks=["logit-shift"], saliency=["gradient"])
    setting = "trick=logit-shift;shift=linear"
    # One image: no interval.
    alone = frame[frame["image"] == frame["image"][0]]
    assert set(verdicts_of(alone, tricks)[0]) == {"undefined"}
    # One prediction that is undefined.
    unknown = frame.copy()
    first = unknown[(unknown["check"] == "prediction-kept")].index[0]
    unknown.loc[first, ["value", "status"]] = [None, "undefined"]
    verdict, kept = verdicts_of(unknown, tricks)
    assert kept[setting] is None
    assert set(verdict) == {"undefined"}
    # Maps that are undefined after the trick on some images.
    partly = frame.copy()
    gone = (
        (partly["setting"] == setting)
        & (partly["scalar"] == "log-prob")
        & (partly["image"] == frame["image"][0])
    )
    partly.loc[gone, "value"] = None
    partly.loc[gone, "status"] = "undefined"
    verdict, _ = verdicts_of(partly, tricks)
    assert verdict["gradient", "log-prob"] == "undefined"
    assert verdict["gradient", "loss"] == "unmoved"


def test_promises_are_measured_beside_their_bounds(model, data):
    tricks = {"logit-shift": {}, "loss-sine": {"eps": 1e-3}}
    frame = rows(model, data, tricks=tricks, saliency=["gradient"])
    promises = audits.kept_promises(frame, audits.bounds(tricks))
    assert set(promises["kept"]) == {"yes"}
    share = promises[promises["check"] == "gradient-bound-share"].iloc[0]
    assert 0.01 < share["worst"] <= 1


def test_labels_that_are_missing_give_no_numbers(model, data):
    images = torch.stack([data[i].image for i in range(len(data))])
    frame = rows(model, from_tensors(images), target="label", saliency=["gradient"])
    for check in ("loss-change", "loss-gradient-change", "scalar-agreement"):
        assert set(frame.loc[frame["check"] == check, "status"]) == {"undefined"}


def test_cancel_cancels_the_gradient_of_the_explained_class(model, data):
    tricks = {"logit-shift": {"shift": "cancel"}}
    frame = rows(model, data, tricks=tricks, saliency=["gradient"], target="label", strength=1.0)
    after = frame[(frame["check"] == "cosine-to-picture") & (frame["scalar"] == "logit")]
    assert after[after["setting"].str.startswith("trick")]["value"].min() > 0.9999


def test_half_precision_does_not_spoil_the_shift(data):
    torch.manual_seed(0)
    half = Classifier(Pooled(), input_shape=(3, 12, 12), precision="bf16")
    tricks = {"logit-shift": {}}
    frame = rows(half, data, tricks=["logit-shift"], saliency=["gradient"])
    verdict, kept = verdicts_of(frame, tricks)
    assert all(kept.values())
    assert verdict["gradient", "logit"] == "forged"


def test_the_same_name_twice_counts_once(model, data):
    once = rows(model, data, saliency=["gradient"], scalars=["logit"])
    twice = rows(model, data, saliency=["gradient"] * 2, scalars=["logit"] * 2)
    assert once.equals(twice)


def test_an_impossible_trick_is_left_out_by_default_and_refused_by_name(data):
    class Certain(Pooled):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * 1e6  # the loss and its gradient are 0

    torch.manual_seed(0)
    certain = Classifier(Certain(), input_shape=(3, 12, 12))
    told: list[str] = []
    frame = rows(certain, data, saliency=["gradient"], skip_impossible=True, tell=told.append)
    assert any(line.startswith("loss-sine left out") for line in told)
    assert frame["setting"].str.contains("logit-shift").any()
    with pytest.raises(UnsupportedError, match="loss-sine"):
        rows(certain, data, saliency=["gradient"])


def test_passes_of_all_models_are_counted(model, data):
    rows(model, data, saliency=["gradient"], scalars=["logit"], tricks=["logit-shift"])
    assert model.passes >= 2 * 3 * len(data)
