import pytest
import torch

from saliency_audit.data import READERS, batches, open_data
from saliency_audit.errors import InputError

GREY = (1, 28, 28)


def test_default_follows_the_model():
    fashion = open_data(None, input_shape=GREY, outputs=10)
    assert (len(fashion), fashion.labelled, fashion.name) == (1000, True, "bundled:fashion-mnist")
    assert fashion.notes == ["no --data: using 1,000 bundled test images of Fashion-MNIST"]
    assert fashion.class_names[9] == "Ankle boot"
    photographs = open_data(None, input_shape=(3, 224, 224), outputs=1000)
    assert not photographs.labelled
    assert photographs.notes == [
        "no --data: using 10 bundled photographs, unlabelled; checks that need labels are undefined"
    ]
    (batch,) = batches(photographs, batch_size=20)
    assert batch.images.shape == (10, 3, 224, 224)
    assert batch.failures == []


def test_photographs_are_converted_for_a_grey_model_and_that_is_told():
    data = open_data(None, input_shape=(1, 64, 64))
    assert data[0].image.shape == (1, 64, 64)
    assert "converted to grey" in data.notes[0]


def test_bundled_training_images():
    data = open_data("bundled:fashion-mnist-train", input_shape=GREY)
    assert len(data) == 6000
    assert torch.bincount(torch.from_numpy(data.labels)).tolist() == [600] * 10


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("minst:x", "unknown kind of --data 'minst'. Did you mean 'mnist'"),
        ("fashon-mnist", "did you mean fashion-mnist:DIR"),
        ("mnist", "did you mean mnist:DIR"),
        ("cifar10:", "names no place; write cifar10:DIR"),
        ("bundled:fashion", "unknown bundled data set 'fashion'. Did you mean 'fashion-mnist'"),
        ("no/such/folder", "no such folder or file; give a folder of class folders, a .csv file"),
        ("no.csv", "no such folder or file"),
        ("folder:no/such", "there is no such folder"),
        ("cifar10:no/such", "--data cifar10:no/such: there is no such folder"),
        ("manifest:no.csv", "cannot be read as CSV"),
        (__file__, "is a file but no .csv"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        open_data(spec, input_shape=GREY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", READERS)
def test_every_kind_refuses_a_place_that_is_not_there(kind):
    with pytest.raises(InputError):
        open_data(f"{kind}:/no/such/place", input_shape=GREY)


def test_max_samples_is_a_seeded_choice_in_order():
    data = open_data(None, input_shape=GREY)
    few = open_data(None, input_shape=GREY, max_samples=50, seed=1)
    again = open_data(None, input_shape=GREY, max_samples=50, seed=1)
    other = open_data(None, input_shape=GREY, max_samples=50, seed=2)
    assert few.names == again.names == sorted(few.names)
    assert few.names != other.names
    assert len(few) == 50
    where = {name: i for i, name in enumerate(data.names)}
    for sample in few:
        whole = data[where[sample.name]]
        assert sample.label == whole.label
        assert torch.equal(sample.image, whole.image)
    assert len(open_data(None, input_shape=GREY, max_samples=5000)) == 1000
    with pytest.raises(InputError, match="--max-samples is 0; give at least 1"):
        open_data(None, input_shape=GREY, max_samples=0)


def test_fingerprint_tells_data_apart():
    def fingerprint(**options):
        return open_data(None, input_shape=GREY, **options).fingerprint

    assert fingerprint() == fingerprint()
    assert len(fingerprint()) == 64
    assert len({fingerprint(), fingerprint(max_samples=9), fingerprint(max_samples=9, seed=1)}) == 3
