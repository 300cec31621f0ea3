"""``--fail-on``: which verdicts end a run with exit code 1."""

from collections.abc import Collection, Iterable


def refusal(fail_on: str | None, words: Iterable[str], refused: Collection[str]) -> str | None:
    """Why a run ends with 1; None where it does not.

    Args:
        fail_on: what was asked for.
        words: of the verdicts; an empty one is of what has none.
        refused: words that are refused. What is undefined always is, and so is a run in which
            nothing was judged.

    >>> refusal("worse", ["better", "worse", "undefined", ""], ["worse"])
    '--fail-on worse: 1 worse, 1 undefined'
    >>> refusal("worse", [], ["worse"]), refusal("worse", ["better"], ["worse"])
    ('--fail-on worse: no map was judged', None)
    """
    judged = [word for word in words if word]
    if fail_on is None:
        return None
    bad = [word for word in judged if word in {*refused, "undefined"}]
    if judged and not bad:
        return None
    found = ", ".join(f"{bad.count(word)} {word}" for word in dict.fromkeys(bad))
    return f"--fail-on {fail_on}: {found or 'no map was judged'}"
