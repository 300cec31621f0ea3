r"""Text of others, shown so that it can do nothing but be read.

A name of a file, a class, a layer or a model may hold anything: sequences that a terminal obeys,
marks that turn the direction of writing, or what a CI server takes for a command.
"""

import os
import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and newline, marks of direction, and what no encoding can write."""
_HASHES = re.compile(r"##(\w*\\?\[)")
_LONGEST, _HEAD, _TAIL = 2400, 1400, 900  # characters of a line


def visible(text: str) -> str:
    r"""Text with its control characters and marks of direction written out.

    >>> print(visible("a\x1b[31mb\u202ec"))
    a\x1b[31mb\u202ec
    """
    return _UNSEEN.sub(lambda found: _code(found[0]), text)


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def flat(text: str) -> str:
    r"""Text in one visible line.

    >>> print(flat("a\n  b\x07"))
    a b\x07
    """
    return visible(" ".join(re.split(r"[ \t\n]+", text.strip(" \t\n"))))


def one_line(text: str) -> str:
    """Text in one visible line that fits a screen: the middle of a very long one is left out.

    >>> len(one_line("9" * 5000)) < 2500
    True
    """
    line = flat(text)
    if len(line) <= _LONGEST:
        return line
    left_out = len(line) - _HEAD - _TAIL
    return f"{line[:_HEAD]} [... {left_out:,} characters ...] {line[-_TAIL:]}"


def no_command(text: str) -> str:
    r"""Text without what CI servers obey in a job's output.

    GitHub obeys "::" at the beginning of any line, also behind spaces, so a long name needs no
    newline of its own: a table that wraps is enough. Azure and TeamCity obey "##name[" and GitHub
    "##[", wherever they stand.

    Args:
        text: to be printed; may be escaped for Rich.

    >>> print(no_command("##[error]x"))
    #\x23[error]x
    """
    text = _HASHES.sub(r"#\\x23\1", text)
    return text.replace("::", ":\\x3a") if "GITHUB_ACTIONS" in os.environ else text
