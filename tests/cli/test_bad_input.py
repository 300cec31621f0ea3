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
from tests import hostile

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


def endless_name():
    return ("--data", "x" * 300), ("'xxx", "300 characters", "give a path")


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
    return ("--std", "0"), ("--std", "at least 1e-06")


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


def data_that_is_a_pipe():
    hostile.pipe(Path("images.csv"))
    return ("--data", "images.csv"), ("images.csv is a pipe, not a regular file",)


def classes_that_are_a_device():
    more = ("--classes", "/dev/zero")
    Path("data/cat").mkdir(parents=True)
    hostile.picture(Path("data/cat/a.png"), 28)
    return ("--data", "data", *more), ("--classes '/dev/zero' is a character device",)


def picture_that_is_a_pipe():
    hostile.pipe(Path("x.png"))
    return ("--picture", "x.png"), ("--picture 'x.png' is a pipe, not a regular file",)


def picture_that_is_a_bomb():
    hostile.png_bomb(Path("x.png"))
    return ("--picture", "x.png"), ("x.png", "decompression bomb")


def manifest_with_a_column_twice():
    manifest([0, 1], "path,label,path")
    return ("--data", "data/labels.csv"), ("has the column path 2 times",)


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
    endless_name,
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
    data_that_is_a_pipe,
    classes_that_are_a_device,
    picture_that_is_a_pipe,
    picture_that_is_a_bomb,
    manifest_with_a_column_twice,
]
COMMANDS = [
    ("check",),
    ("fool",),
    ("attack",),
    ("evaluate",),
    ("finetune", "--objective", "pgd"),
    ("gate",),
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


def refused(run, arguments, said):
    ran = run(*arguments)
    assert ran.code == 2, ran.err
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize(
    ("data", "output", "said"),
    [
        (".", None, "--data . holds the output folder saliency-audit-report/"),
        ("photos", "photos/report", "--data photos holds the output folder photos/report"),
        ("photos", "photos", "--data photos is the output folder photos"),
        ("photos", "link/report", "--data photos holds the output folder link/report"),
        ("folder:photos", "photos/x", "--data folder:photos holds the output folder photos/x"),
        ("mnist:photos@train", "photos/x", "--data mnist:photos@train holds the output folder"),
        ("photos/cat", "photos", "--data photos/cat lies in the output folder photos"),
    ],
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_data_and_output_lie_apart(run, command, data, output, said):
    Path("photos/cat").mkdir(parents=True)
    hostile.picture(Path("photos/cat/a.png"), 28)
    Path("link").symlink_to("photos")
    there = set(Path().rglob("*"))
    more = () if output is None else ("--output-dir", output)
    refused(run, (*command, "--data", data, *more), said)
    assert set(Path().rglob("*")) == there


@pytest.mark.parametrize("option", ["--maps", "--annotations"])
def test_the_report_does_not_lie_among_maps(run, option):
    Path("maps").mkdir()
    more = ("--metric", "pointing-game") if option == "--annotations" else ()
    arguments = ("evaluate", option, "maps", *more, "--output-dir", "maps/report")
    refused(run, arguments, f"{option} maps holds the output folder maps/report")
    assert not any(Path("maps").iterdir())


def test_validation_images_and_output_lie_apart(run):
    Path("val").mkdir()
    refused(run, ("finetune", "--objective", "pgd", "--val", "val", "--output-dir", "val/x"),
            "--val val holds the output folder val/x")  # fmt: skip


@pytest.mark.parametrize("spec", ["out/images/all.csv", "manifest:out/images/all.csv", "all.csv"])
def test_an_attack_does_not_remove_the_images_that_it_is_given(run, spec):
    Path("out/images").mkdir(parents=True)
    hostile.picture(Path("out/images/a.png"), 28)
    Path("all.csv").write_text("path,label\nout/images/a.png,1\n")
    Path("out/images/all.csv").write_text("path,label\na.png,1\n")
    ran = run("attack", "--data", spec, "--output-dir", "out", "--quiet")
    assert ran.code == 2, ran.err
    assert "in out/images, where this run puts its own images" in ran.err


def test_a_manifest_may_lie_around_the_output(run):
    manifest([0, 1, 2])
    ran = run("evaluate", "--data", "data/labels.csv", "--output-dir", "data/report", "--saliency",
              "gradient", "--metric", "sparsity-gini", "--quiet")  # fmt: skip
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_more_workers_than_any_machine_has_use_for(run, command):
    refused(
        run, (*command, "--workers", 100_000), "--workers is 100,000; give at least 0 and at most"
    )


def test_hostile_pictures_are_rows_of_a_run_that_ends_well(run):
    manifest([0, 1, 2])
    lines = Path("data/labels.csv").read_text()
    for make in (hostile.pipe, hostile.endless, hostile.png_bomb, hostile.png_of_gigabytes):
        make(Path("data") / f"{make.__name__}.png")
        lines += f"{make.__name__}.png,1\n"
    Path("data/labels.csv").write_text(lines)
    ran = run("evaluate", "--data", "data/labels.csv", "--saliency", "gradient", "--metric",
              "sparsity-gini")  # fmt: skip
    assert ran.code == 0, ran.err
    assert "4 of 7 images of labels.csv cannot be read" in ran.err
    rows = Path("saliency-audit-report/evaluate/results.csv").read_text().splitlines()
    errors = [row for row in rows if row.endswith(",error")]
    assert len(errors) == 4
    assert sum("is a pipe, not a regular file" in row for row in errors) == 1
    assert sum("is a character device" in row for row in errors) == 1
    assert sum("decompression bomb" in row for row in errors) == 1


def test_a_pickle_runs_when_it_is_trusted(run):
    torch.save(bundled_model(), "model.pt")
    few = ("--max-samples", 3, "--saliency", "gradient", "--scalar", "logit")
    ran = run("fool", "model.pt", "--trust-pickle", *few)
    assert ran.code == 0, ran.err
