"""Clean accuracy: measured before anything else, since no map of a broken model means anything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from saliency_audit.commands.explain import predict
from saliency_audit.data import ImageData, batches
from saliency_audit.metrics.accuracy import accuracy
from saliency_audit.models import Classifier


@dataclass(frozen=True)
class Clean:
    """How the model does on the images as they are.

    Attributes:
        right: correctly classified images.
        n: images that could be read and have a label that says what is right.
        readable: images that could be read.
        unreadable: images that could not.
        classes: number of outputs.
        first_failure: name of the first image that could not be read, and why.
        digests: sha256 of the pixels of each image as the model sees it; the same picture twice
            has one.
    """

    right: int
    n: int
    readable: int
    unreadable: int
    classes: int
    first_failure: str = ""
    digests: frozenset[bytes] = frozenset()

    @property
    def images_sha256(self) -> str:
        """One for all images, whatever their order and their files."""
        return sha256(b"".join(sorted(self.digests))).hexdigest()

    @property
    def accuracy(self) -> float | None:
        """Share of right ones, None without labels."""
        return self.right / self.n if self.n else None

    @property
    def at_chance(self) -> bool:
        """Whether the accuracy could be that of a model that guesses.

        It exceeds 1/classes by no more than two standard errors; of fewer than 10 images, not at
        all.
        """
        if not self.n:
            return False
        chance = 1 / self.classes
        error = (chance * (1 - chance) / self.n) ** 0.5
        return self.right / self.n <= chance + (2 * error if self.n >= 10 else 0)


def clean_accuracy(
    model: Classifier,
    data: ImageData,
    *,
    batch_size: int,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Clean:
    """Count right predictions, streaming.

    Args:
        model: the classifier.
        data: the images.
        batch_size: most images the model sees at once.
        workers: processes that read images.
        shard: ``(rank, world)``: only every world-th batch; see `merged`.
        advance: called with (images done, all images).
    """
    first_failure = ""
    right = n = readable = unreadable = classes = 0
    digests: set[bytes] = set()
    with model.audited():
        for batch in batches(
            data,
            batch_size=batch_size,
            workers=workers,
            device=model.mean.device,
            shard=shard,
        ):
            unreadable += len(batch.failures)
            if batch.failures and not first_failure:
                first_failure = f"{batch.failures[0].name}: {batch.failures[0].message}"
            readable += len(batch.names)
            advance(readable + unreadable, len(data))
            if batch.names:
                pixels = batch.images.float().cpu().numpy()
                digests |= {sha256(image.tobytes()).digest() for image in pixels}
                logits = predict(model, batch.images, batch_size=batch_size)
                classes = logits.shape[1]
                hits = accuracy(logits, batch.labels, outputs=model.outputs)
                n += int(hits.isfinite().sum())
                right += int(hits.nansum())
    return Clean(right, n, readable, unreadable, classes, first_failure, frozenset(digests))


def merged(parts: Sequence[Clean]) -> Clean:
    """What several processes counted, each on its own share of the images."""
    return Clean(
        right=sum(part.right for part in parts),
        n=sum(part.n for part in parts),
        readable=sum(part.readable for part in parts),
        unreadable=sum(part.unreadable for part in parts),
        classes=max(part.classes for part in parts),
        digests=frozenset().union(*(part.digests for part in parts)),
        first_failure=next((part.first_failure for part in parts if part.first_failure), ""),
    )
