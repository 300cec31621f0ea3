"""Which image something belongs to that goes by the image's name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from saliency_audit.data.dataset import ImageData
from saliency_audit.data.files import ReadFile
from saliency_audit.data.images import EXTENSIONS

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Belongings(Generic[Thing]):
    """What was found for the images.

    Attributes:
        of: by image, those that have any.
        unclear: by image, the key that other images answer to as well.
        unused: keys that no image answers to, sorted.
    """

    of: dict[str, list[Thing]]
    unclear: dict[str, str]
    unused: list[str]


def stem(name: str) -> str:
    """The name without the suffix of a picture; what is no such suffix stays.

    >>> stem("n01440764/a.JPEG"), stem("test/00001"), stem("version.2")
    ('n01440764/a', 'test/00001', 'version.2')
    """
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in EXTENSIONS else name


def keys_of(name: str) -> tuple[list[str], list[str]]:
    """What an image answers to: with its folders, and without them.

    >>> keys_of("x/a.jpg")
    (['x/a.jpg', 'x/a'], ['a.jpg', 'a'])
    """
    alone = PurePosixPath(name).name
    return list(dict.fromkeys([name, stem(name)])), list(dict.fromkeys([alone, stem(alone)]))


def assign(
    things: Mapping[str, Sequence[Thing]], names: Sequence[str], among: Sequence[str]
) -> Belongings[Thing]:
    """Give every image what goes by its name.

    The name with its folders comes first, then without, with or without the picture's suffix. A
    key that several images answer to belongs to none of them.

    Args:
        things: by key.
        names: of the images.
        among: of all images there are, of which those are some.

    >>> assign({"x/a": [1], "b": [2], "c": [3]}, ["x/a.jpg", "x/b.jpg"], ["x/a.jpg", "x/b.jpg"])
    Belongings(of={'x/a.jpg': [1], 'x/b.jpg': [2]}, unclear={}, unused=['c'])
    """
    everyone = dict.fromkeys([*among, *names])
    answering = tuple(
        Counter(key for name in everyone for key in keys_of(name)[level]) for level in (0, 1)
    )
    of: dict[str, list[Thing]] = {}
    unclear: dict[str, str] = {}
    for name in names:
        for level, keys in enumerate(keys_of(name)):
            present = [key for key in keys if key in things]
            own = [key for key in present if answering[level][key] == 1]
            if own:
                of[name] = [thing for key in own for thing in things[key]]
                unclear.pop(name, None)
                break
            if present:
                unclear.setdefault(name, present[0])
    unused = [key for key in things if not any(key in counted for counted in answering)]
    return Belongings(of, unclear, sorted(unused))


def all_names(data: ImageData) -> Sequence[str]:
    """Names of the images before some of them were chosen, where they are known."""
    return data.read.names if isinstance(data.read, ReadFile) else data.names


def such_as(names: Sequence[str], most: int = 3) -> str:
    """The first few names, for a message.

    >>> such_as(["a", "b", "c", "d"])
    'a, b, c ...'
    """
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
