"""What ``--data toy:`` and ``synthetic:`` may say, and what is refused in one line."""

import pytest
import torch

from saliency_audit.data import batches, open_data, place_of
from saliency_audit.data.generated import wanted
from saliency_audit.errors import InputError

POINT = (1, 1, 2)
COLOUR = (3, 32, 40)
KINDS = [("toy:boundary-tilting", POINT), ("synthetic:hierarchy", COLOUR)]


def pixels(spec, shape, **options):
    return torch.stack([sample.image for sample in open_data(spec, input_shape=shape, **options)])


@pytest.mark.parametrize(("spec", "shape"), KINDS)
def test_one_seed_gives_the_same_bytes_and_another_others(spec, shape):
    first = pixels(f"{spec}:images=20", shape)
    assert torch.equal(first, pixels(f"{spec}:images=20,seed=0", shape))
    assert not torch.equal(first, pixels(f"{spec}:images=20,seed=1", shape))
    assert not torch.equal(first, pixels(f"{spec}:images=20@train", shape))


@pytest.mark.parametrize(("spec", "shape"), KINDS)
@pytest.mark.parametrize("split", ["", "@train"])
def test_an_image_does_not_depend_on_how_many_there_are(spec, shape, split):
    few, many = (open_data(f"{spec}:images={n}{split}", input_shape=shape) for n in (7, 7000))
    assert few.names == many.names[:7]
    assert few.labels.tolist() == many.labels[:7].tolist()
    for one in range(7):
        assert torch.equal(few[one].image, many[one].image)


@pytest.mark.parametrize(("spec", "shape"), KINDS)
def test_batches_of_any_size_hold_the_same_images(spec, shape):
    data = open_data(f"{spec}:images=10", input_shape=shape)
    by_batch_size = [
        torch.cat([batch.images for batch in batches(data, batch_size=size)]) for size in (1, 4, 10)
    ]
    assert torch.equal(by_batch_size[0], by_batch_size[1])
    assert torch.equal(by_batch_size[0], by_batch_size[2])
    assert by_batch_size[0].dtype == torch.float32
    assert by_batch_size[0].amin() >= 0
    assert by_batch_size[0].amax() <= 1


@pytest.mark.parametrize(("spec", "shape"), KINDS)
def test_the_fingerprint_tells_seeds_splits_and_numbers_apart(spec, shape):
    others = ["", ":seed=1", "@train", ":images=30", ":images=30@train"]
    data = [open_data(f"{spec}{other}", input_shape=shape) for other in others]
    assert len({one.fingerprint for one in data}) == len(others)
    assert data[3].name == f"{spec}:images=30 (test)"
    assert data[1].name == f"{spec}:seed=1 (test)"


def test_options_come_in_any_order():
    assert wanted("x:seed=3,images=5@train") == wanted("x: images = 5 , seed = 3@train")


def test_what_is_generated_lies_nowhere():
    assert place_of("toy:boundary-tilting@train") is None
    assert place_of("synthetic:hierarchy") is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("toy:boundary-tiltin", "unknown toy data set 'boundary-tiltin'. Did you mean"),
        ("toy:", "names no place; write toy:boundary-tilting"),
        ("synthetic:hierachy", "unknown synthetic data set 'hierachy'. Did you mean 'hierarchy'"),
        ("synthetic:hierarchy@val", "unknown synthetic data set 'hierarchy@val'"),
        ("synthetic:hierarchy:images=-3", "images is -3; give at least 1"),
        ("synthetic:hierarchy:images=0", "images is 0; give at least 1"),
        ("synthetic:hierarchy:images=99999999", "at most 4,194,304"),
        ("synthetic:hierarchy:images=many", "images is 'many'; give a whole number"),
        ("synthetic:hierarchy:images=1.5", "images is '1.5'; give a whole number"),
        ("synthetic:hierarchy:images=٣", "images is '٣'; give a whole number"),
        ("synthetic:hierarchy:images=--1", "images is '--1'; give a whole number"),
        ("synthetic:hierarchy:images", "images is ''; give a whole number"),
        ("synthetic:hierarchy:", "unknown option of --data hierarchy ''. Known: images, seed"),
        ("synthetic:hierarchy:image=3", "Did you mean 'images'"),
        ("synthetic:hierarchy:seed=-1", "seed is -1; give at least 0"),
        ("synthetic:hierarchy:seed=" + "9" * 30, "give a whole number"),
        ("toy:boundary-tilting", "the model takes 3x32x40; give a model of points"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        open_data(spec, input_shape=COLOUR)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("spec", "shape"), KINDS)
def test_classes_of_folders_and_too_few_outputs_are_refused(spec, shape, tmp_path):
    with pytest.raises(InputError, match="--classes is for folders"):
        open_data(spec, input_shape=shape, classes_file=tmp_path / "classes.txt")
    with pytest.raises(InputError, match="label 1 but the model has 1 outputs"):
        open_data(spec, input_shape=shape, outputs=1)
