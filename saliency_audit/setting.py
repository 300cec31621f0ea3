"""What a value was measured at, as the column ``setting`` has it: ``key=value;key=value``."""


def parts_of(setting: str) -> dict[str, str]:
    """The pairs of a setting.

    >>> parts_of("attack=topk;eps=8/255"), parts_of("")
    ({'attack': 'topk', 'eps': '8/255'}, {})
    """
    return dict(part.split("=", 1) for part in setting.split(";") if "=" in part)


def eps_text(eps: float | None) -> str:
    """A budget as people write it.

    >>> eps_text(8 / 255), eps_text(0.5), eps_text(None), eps_text(0.0)
    ('8/255', '0.5', 'none', '0')
    """
    if eps is None:
        return "none"
    levels = eps * 255
    whole = abs(levels - round(levels)) < 1e-6 and 0 < round(levels) < 255
    return f"{round(levels)}/255" if whole else f"{eps:g}"
