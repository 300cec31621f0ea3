"""Bad input: one line with the value seen and the fix, exit 2, nothing written, no traceback."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from saliency_audit.assets import bundled_model

ARCH = ("--arch", "saliency_audit.assets:FashionMnistCnn")


class Payload:
    def __reduce__(self):
        return Path("ran").touch, ()


def missing():
    return ("nowhere.pt",), ("nowhere.pt",)


def pickled():
    torch.save(Payload(), "evil.pt")
    return ("evil.pt",), ("--trust-pickle",)


def legacy_pickle():
    Path("evil.pth").write_bytes(pickle.dumps(Payload()))
    return ("evil.pth",), ("--trust-pickle",)


def text():
    Path("model.pt").write_text("these are not weights\n" * 5)
    return ("model.pt",), ("text",)


def empty():
    Path("model.safetensors").touch()
    return ("model.safetensors",), ("empty",)


def truncated():
    torch.save(bundled_model().state_dict(), "whole.pt")
    content = Path("whole.pt").read_bytes()
    Path("model.pt").write_bytes(content[: len(content) // 2])
    return ("model.pt", *ARCH), ("truncated",)


def another_zip():
    with zipfile.ZipFile("model.pt2", "w") as archive:
        archive.writestr("hello.txt", "hello")
    return ("model.pt2",), ("model.pt2",)


def wrong_architecture():
    save_file(bundled_model().state_dict(), "model.safetensors")
    return ("model.safetensors", "--arch", "torchvision:resnet18"), ("conv1.weight", "more")


def unknown_architecture():
    save_file(bundled_model().state_dict(), "model.safetensors")
    return ("model.safetensors", "--arch", "torchvision:resnet19"), ("resnet18",)


def broken_weights():
    state = bundled_model().state_dict()
    state["head.weight"][0, 0] = torch.nan
    save_file(state, "model.safetensors")
    return ("model.safetensors", *ARCH), ("head.weight", "NaN")


def manifest(labels, columns="path,label"):
    Path("data").mkdir()
    lines = [columns]
    for i, label in enumerate(labels):
        Image.new("L", (28, 28), i * 9).save(f"data/{i}.png")
        lines.append(f"{i}.png,{label}")
    Path("data/labels.csv").write_text("\n".join(lines) + "\n")


def labels_out_of_range():
    manifest([0, 1, 12])
    return ("--data", "data/labels.csv"), ("12", "10")


def manifest_without_columns():
    manifest([0, 1], "file,class")
    return ("--data", "data/labels.csv"), ("path", "file")


def empty_folder():
    Path("data").mkdir()
    return ("--data", "data"), ("data",)


def missing_folder():
    return ("--data", "nowhere"), ("nowhere",)


def more_folders_than_classes():
    for i in range(12):
        Path(f"data/class{i:02d}").mkdir(parents=True)
        Image.new("L", (28, 28), i).save(f"data/class{i:02d}/x.png")
    return ("--data", "data"), ("12", "10", "--classes")


def colour_images_for_a_grey_model():
    Path("data").mkdir()
    Image.new("RGB", (28, 28), (200, 10, 30)).save("data/x.png")
    return ("--data", "data"), ("colour", "--channels")


def grey_images_for_a_colour_model():
    Path("data").mkdir()
    Image.new("L", (32, 32), 20).save("data/x.png")
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1800, 3))
    program = torch.export.export(
        network, (torch.rand(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, "model.pt2")
    return ("model.pt2", "--data", "data"), ("grey", "--channels")


def fixed_batch():
    program = torch.export.export(bundled_model(), (torch.rand(1, 1, 28, 28),))
    torch.export.save(program, "model.pt2")
    return ("model.pt2",), ("dynamic_shapes",)


def wrong_size():
    return ("--size", "1"), ("--size",)


def wrong_mean():
    return ("--mean", "0.5,0.5"), ("--mean", "2 values")


def zero_std():
    return ("--std", "0"), ("--std", "above 0")


def misspelt_saliency():
    return ("--saliency", "smoothgrat"), ("Did you mean 'smoothgrad'",)


def misspelt_scalar():
    return ("--scalar", "logits"), ("Did you mean 'logit'",)


def misspelt_option():
    return ("--saliancy", "gradient"), ("--saliancy",)


def misspelt_trick():
    return ("--trick", "logit-shifted"), ("logit-shift",)


def number_that_is_none():
    return ("--eps", "abc"), ("abc", "8/255")


def strength_that_is_no_number():
    return ("--strength", "nan"), ("nan",)


def size_that_the_bundled_model_does_not_take():
    return ("--size", "33"), ("28x28", "--size")


def zero_resize():
    return ("--resize", "0"), ("--resize",)


def markup_in_a_name():
    return ("model[/x].pt",), ("model[/x].pt",)


def zero_strength():
    return ("--strength", "0"), ("--strength",)


def picture_that_is_missing():
    return ("--picture", "none.png"), ("none.png",)


def picture_that_is_none():
    Path("none.png").write_text("no picture")
    return ("--picture", "none.png"), ("none.png", "image")


def unknown_device():
    return ("--device", "tpu"), ("tpu", "cuda")


def no_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    return ("--device", "cuda"), ("cuda", "cpu")


def layer_that_is_none():
    return ("--saliency", "gradcam", "--layer", "featurs"), ("featurs", "features")


def folder_that_cannot_be_written():
    Path("file").touch()
    return ("--output-dir", "file/report"), ("file/report", "--output-dir")


def method_the_format_does_not_allow():
    torch.jit.script(bundled_model()).save("model.pt")
    return ("model.pt", "--channels", "1", "--saliency", "gradcam"), ("TorchScript", "--arch")


CASES = [
    missing,
    pickled,
    legacy_pickle,
    text,
    empty,
    truncated,
    another_zip,
    wrong_architecture,
    unknown_architecture,
    broken_weights,
    labels_out_of_range,
    manifest_without_columns,
    empty_folder,
    missing_folder,
    more_folders_than_classes,
    colour_images_for_a_grey_model,
    grey_images_for_a_colour_model,
    fixed_batch,
    wrong_size,
    wrong_mean,
    zero_std,
    misspelt_saliency,
    misspelt_scalar,
    misspelt_option,
    misspelt_trick,
    number_that_is_none,
    strength_that_is_no_number,
    size_that_the_bundled_model_does_not_take,
    zero_resize,
    markup_in_a_name,
    zero_strength,
    picture_that_is_missing,
    picture_that_is_none,
    unknown_device,
    no_gpu,
    layer_that_is_none,
    folder_that_cannot_be_written,
    method_the_format_does_not_allow,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_one_line_exit_2_and_nothing_written(run, case):
    arguments, said = case()
    there = set(Path().rglob("*"))
    ran = run("fool", *arguments)
    lines = [line for line in ran.err.splitlines() if not line.startswith("note ")]
    assert ran.code == 2, ran.err
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in ran.err
    for words in said:
        assert words in lines[0]
    assert set(Path().rglob("*")) == there
    assert not Path("ran").exists(), "code in the model file was run"


def test_a_pickle_runs_when_it_is_trusted(run):
    torch.save(bundled_model(), "model.pt")
    few = ("--max-samples", 3, "--saliency", "gradient", "--scalar", "logit")
    ran = run("fool", "model.pt", "--trust-pickle", *few)
    assert ran.code == 0, ran.err
