"""The use-cases for Python: combine the nouns, yield rows batch by batch, print nothing."""

from saliency_audit.commands.attack.audit import attack as attack
from saliency_audit.commands.attack.files import file_of as file_of
from saliency_audit.commands.attack.verdict import attack_chances as attack_chances
from saliency_audit.commands.attack.verdict import attack_controls as attack_controls
from saliency_audit.commands.attack.verdict import attack_predictions as attack_predictions
from saliency_audit.commands.attack.verdict import attack_verdicts as attack_verdicts
from saliency_audit.commands.clean import Clean as Clean
from saliency_audit.commands.clean import clean_accuracy as clean_accuracy
from saliency_audit.commands.evaluate.audit import METRICS_BY_DEFAULT as METRICS_BY_DEFAULT
from saliency_audit.commands.evaluate.audit import evaluate as evaluate
from saliency_audit.commands.evaluate.verdict import evaluate_chances as evaluate_chances
from saliency_audit.commands.evaluate.verdict import evaluate_sentence as evaluate_sentence
from saliency_audit.commands.evaluate.verdict import evaluate_verdicts as evaluate_verdicts
from saliency_audit.commands.explain import explain as explain
from saliency_audit.commands.finetune.audit import finetune as finetune
from saliency_audit.commands.finetune.before_and_after import before_and_after as before_and_after
from saliency_audit.commands.fool.audit import fool as fool
from saliency_audit.commands.fool.forgery import bounds as bounds
from saliency_audit.commands.fool.verdict import all_kept as all_kept
from saliency_audit.commands.fool.verdict import fool_verdicts as fool_verdicts
from saliency_audit.commands.fool.verdict import kept_promises as kept_promises
from saliency_audit.commands.table import table as table
