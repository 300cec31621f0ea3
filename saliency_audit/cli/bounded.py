"""Commands whose numbers lie in their ranges."""

from typing import Any

from typer.core import TyperCommand

from saliency_audit.ranges import refuse_outside


class Bounded(TyperCommand):
    """A command that looks up each number it is given: none can go without a range."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line.

        Raises:
            InputError: a number beyond the range of its option.
        """
        rest = super().parse_args(ctx, args)
        for param in self.params:
            name = str(param.name)
            refuse_outside(name, ctx.params.get(name), said=param.opts[0])
        return rest
