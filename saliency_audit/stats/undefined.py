"""When a number is of too few images to judge by: one rule for every verdict."""

MOST_UNDEFINED = 0.05
"""Share of images without a value beyond which a 95 % interval says nothing about the images."""
FEWEST = 8
"""Images below which an interval is too narrow to judge by."""


def why_undefined(n: int, n_undefined: int) -> str:
    """Why values do not suffice for a verdict; empty where they do.

    Args:
        n: images with a value.
        n_undefined: images without one: no map, no label, or what measures it failed.

    >>> why_undefined(5, 3), why_undefined(96, 4), why_undefined(7, 0)
    ('no value on 3 of 8 images', '', '7 images are too few to judge by; give 8 or more')
    """
    images = n + n_undefined
    if n_undefined > MOST_UNDEFINED * images:
        return f"no value on {n_undefined} of {images} images"
    if n < FEWEST:
        counted = f"{n} image is" if n == 1 else f"{n} images are"
        return f"{counted} too few to judge by; give {FEWEST} or more"
    return ""
