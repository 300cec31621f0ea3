"""From tensors to tidy rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from saliency_audit.data import ImageBatch
from saliency_audit.maps import faults
from saliency_audit.types import Example, Row


@dataclass(frozen=True)
class Subject:
    """What the rows of one batch have in common.

    Attributes:
        names: of the images.
        labels: ``(n,)``, -1 where there is none.
        targets: explained classes, ``(n,)``, -1 where there is none.
        model: name of the model.
    """

    names: list[str]
    labels: Tensor
    targets: Tensor
    model: str

    def rows(
        self, check: str, values: Tensor, *, setting: str, saliency: str = "", scalar: str = ""
    ) -> list[Row]:
        """One row per image; a value that is not finite is undefined."""
        return [
            {
                **image,
                "saliency": saliency,
                "scalar": scalar,
                "check": check,
                "setting": setting,
                "value": value if finite else None,
                "status": "ok" if finite else "undefined",
            }
            for image, value, finite in zip(
                self._images(), values.tolist(), values.isfinite().tolist(), strict=True
            )
        ]

    def without_map(
        self,
        maps: Tensor,
        *,
        saliency: str,
        scalar: str,
        setting: str = "",
        refused: Mapping[str, str] | None = None,
    ) -> list[Row]:
        """A row with the reason, and without a check, for each image whose map says nothing.

        Args:
            maps: ``(n, ...)``.
            saliency: that made them.
            scalar: explained.
            setting: of the trick or attack they were made under.
            refused: why there is no map, by image, where that is known.
        """
        refused, before = refused or {}, f"{setting};" if setting else ""
        return [
            {
                **image,
                "saliency": saliency,
                "scalar": scalar,
                "check": "",
                "setting": f"{before}reason={one_reason(refused.get(name, fault))}",
                "value": None,
                "status": "error" if name in refused else "undefined",
            }
            for name, image, fault in zip(self.names, self._images(), faults(maps), strict=True)
            if fault
        ]

    def _images(self) -> list[Row]:
        """What all rows of an image begin with."""
        return [
            {
                "image": name,
                "label": label if label >= 0 else None,
                "target": target if target >= 0 else None,
                "model": self.model,
            }
            for name, label, target in zip(
                self.names, self.labels.tolist(), self.targets.tolist(), strict=True
            )
        ]


def one_reason(text: str) -> str:
    r"""A reason in one line that is fit for a setting.

    >>> one_reason("no layer;\n  give one")
    'no layer, give one'
    """
    return " ".join(text.split())[:200].replace(";", ",")


def failure_rows(batch: ImageBatch, model: str) -> list[Row]:
    """One row with ``status=error`` for each image that could not be read."""
    return [
        {
            "image": failure.name,
            "label": failure.label,
            "target": None,
            "model": model,
            "saliency": "",
            "scalar": "",
            "check": "",
            "setting": f"reason={failure.message.replace(';', ',')}",
            "value": None,
            "status": "error",
        }
        for failure in batch.failures
    ]


def image_example(name: str, image: Tensor) -> Example:
    """An image as it is drawn: ``(h, w)`` or ``(h, w, 3)``."""
    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    return Example(name, "", "", "", "image", pixels.float().cpu().numpy())


def map_example(
    name: str, saliency_map: Tensor, *, saliency: str, scalar: str, setting: str, role: str
) -> Example:
    """A map as it is drawn: mean over channels, signed."""
    pixels = saliency_map.mean(0).float().cpu().numpy()
    return Example(name, saliency, scalar, setting, role, pixels)
