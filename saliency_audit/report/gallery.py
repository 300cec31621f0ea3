"""Images and maps of a run, found by what they show."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from saliency_audit.report.figures import Tile, View
from saliency_audit.types import Example

Key = tuple[str, str, str, str, str]
"""Role, image, saliency, scalar and setting."""

_IMAGES = ("image", "attacked", "picture", "perturbed", "patched")
"""Roles of what is no map."""
_SAID = (
    "Below an image: the class that its maps explain, which is the predicted one unless labels "
    "were asked for; its label where that is another."
)


@dataclass(frozen=True)
class Gallery:
    """What there is to show.

    Attributes:
        found: by what it shows; the first model's where there are several.
        said: by image, what stands below it.
        signed: methods and scalars of maps with both signs: one kind of colours for all maps of
            a method, or before and after would differ in colours alone.
        view: how maps are scaled, see `colours`.
    """

    found: Mapping[Key, Example]
    signed: Collection[tuple[str, str]]
    said: Mapping[str, str] = field(default_factory=dict)
    view: View = ""

    @property
    def legend(self) -> str:
        """What `said` is, for a footnote."""
        return f" {_SAID}" if self.said else ""


def gallery_of(
    examples: Iterable[Example], said: Mapping[str, str] | None = None, view: View = ""
) -> Gallery:
    """The examples of a run.

    Args:
        examples: images and maps.
        said: by image, the class that its maps explain, and its label.
        view: how maps are scaled, see `colours`.
    """
    found: dict[Key, Example] = {}
    for e in examples:
        found.setdefault((e.role, e.image, e.saliency, e.scalar, e.setting), e)
    maps = [e for e in found.values() if e.role not in _IMAGES]
    signed = {(e.saliency, e.scalar) for e in maps if (e.pixels < 0).any()}
    return Gallery(found, signed, said or {}, view)


def of_role(gallery: Gallery, role: str) -> list[Example]:
    """All examples of a role."""
    return [example for (own, *_), example in gallery.found.items() if own == role]


def images_with(gallery: Gallery, role: str, saliency: str, scalar: str, setting: str) -> list[str]:
    """Names of the images that have such an example."""
    wanted = (role, saliency, scalar, setting)
    return [image for own, image, *made in gallery.found if (own, *made) == wanted]


def tile_of(gallery: Gallery, example: Example | None, caption: str = "") -> Tile | None:
    """An example as it is drawn."""
    if example is None:
        return None
    signed = (example.saliency, example.scalar) in gallery.signed
    kind = "image" if example.role in _IMAGES else "signed" if signed else "unsigned"
    return Tile(example.pixels, kind, caption, gallery.view)  # type: ignore[arg-type]


def tile(
    gallery: Gallery,
    role: str,
    image: str,
    saliency: str = "",
    scalar: str = "",
    setting: str = "",
    *,
    caption: str = "",
) -> Tile | None:
    """What has these names, if it is there."""
    found = gallery.found.get((role, image, saliency, scalar, setting))
    if role == "image" and not setting:
        caption = "\n".join(filter(None, (caption, gallery.said.get(image))))
    return tile_of(gallery, found, caption)
