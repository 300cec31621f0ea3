import pytest
import torch

from saliency_audit.errors import AuditError, InputError
from saliency_audit.models import auto_batch_size, halve_on_oom, resolve_device


@pytest.fixture
def gpus(monkeypatch):
    def pretend(count: int, *, apple: bool = False) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: apple)

    return pretend


@pytest.mark.parametrize(
    ("count", "apple", "name", "device"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, True, "auto", "cuda"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, "cpu", "cpu"),
        (0, True, "mps", "mps"),
    ],
)
def test_devices(count, apple, name, device, gpus):
    gpus(count, apple=apple)
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("count", "name", "words"),
    [
        (0, "cuda", "--device is cuda but torch sees no CUDA device"),
        (1, "cuda:1", "has 1 CUDA device;"),
        (2, "cuda:7", "has 2 CUDA devices;"),
        (0, "mps", "no Apple GPU"),
        (0, "gpu", "give auto, cpu, cuda, cuda:N or mps"),
        (1, "cuda:x", "--device is 'cuda:x'"),
        (1, "", "--device is ''"),
    ],
)
def test_devices_that_are_not_there(count, name, words, gpus):
    gpus(count)
    with pytest.raises(InputError) as caught:
        resolve_device(name)
    assert words in str(caught.value)


def test_tf32_is_off_on_cuda(gpus, monkeypatch):
    gpus(1)
    precision = torch.get_float32_matmul_precision()
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", True)
    torch.set_float32_matmul_precision("high")
    try:
        resolve_device("cuda")
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize(
    ("shape", "device", "size"),
    [
        ((3, 224, 224), "cpu", 4),
        ((1, 28, 28), "cpu", 64),
        ((3, 2000, 2000), "cpu", 1),
        ((3, 224, 224), "cuda", 256),
        ((1, 28, 28), "cuda", 4096),
    ],
)
def test_batch_sizes(shape, device, size):
    assert auto_batch_size(shape, torch.device(device)) == size


def test_the_batch_is_halved_until_it_fits():
    tried, told = [], []

    def function(size: int) -> str:
        tried.append(size)
        if size > 3:
            raise torch.OutOfMemoryError
        return f"done by {size}"

    assert halve_on_oom(function, 13, tell=told.append) == "done by 3"
    assert tried == [13, 6, 3]
    assert told[-1] == "out of memory: going on with --batch-size 3"


def test_one_image_that_does_not_fit_is_an_error():
    def function(size: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(AuditError, match="one image at a time"):
        halve_on_oom(function, 2, tell=lambda line: None)


def test_other_errors_pass():
    def function(size: int) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        halve_on_oom(function, 2, tell=lambda line: None)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_gpu_recovers():
    def function(size: int) -> int:
        return torch.empty(size, 1 << 30, device=resolve_device("cuda")).shape[0]

    told: list[str] = []
    assert halve_on_oom(function, 1024, tell=told.append) >= 1
    assert told
