"""``saliency-audit finetune``."""

from saliency_audit.commands.finetune.options import OPTIONS
from saliency_audit.commands.finetune.run import run
from saliency_audit.commands.life import Entry

HELP = """Train a model whose gradients can be trusted more, and audit it before and after.

Example: saliency-audit finetune --objective gradient-norm --max-steps 20 --max-samples 8
"""

COMMAND = Entry("finetune", OPTIONS, HELP, run)
