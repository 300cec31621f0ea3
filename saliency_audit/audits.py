"""The use-cases: combine the nouns, yield rows batch by batch, print nothing."""

from saliency_audit.commands.attack.audit import ATTACKS_BY_DEFAULT as ATTACKS_BY_DEFAULT
from saliency_audit.commands.attack.audit import attack as attack
from saliency_audit.commands.attack.audit import check_attack as check_attack
from saliency_audit.commands.attack.files import file_of as file_of
from saliency_audit.commands.attack.jobs import goals as goals
from saliency_audit.commands.attack.verdict import ATTACK_WORDS as ATTACK_WORDS
from saliency_audit.commands.attack.verdict import attack_chances as attack_chances
from saliency_audit.commands.attack.verdict import attack_controls as attack_controls
from saliency_audit.commands.attack.verdict import attack_predictions as attack_predictions
from saliency_audit.commands.attack.verdict import attack_sentence as attack_sentence
from saliency_audit.commands.attack.verdict import attack_verdicts as attack_verdicts
from saliency_audit.commands.clean import Clean as Clean
from saliency_audit.commands.clean import clean_accuracy as clean_accuracy
from saliency_audit.commands.clean import merged as merged
from saliency_audit.commands.evaluate.audit import METRICS_BY_DEFAULT as METRICS_BY_DEFAULT
from saliency_audit.commands.evaluate.audit import SALIENCY_BY_DEFAULT as SALIENCY_BY_DEFAULT
from saliency_audit.commands.evaluate.audit import evaluate as evaluate
from saliency_audit.commands.evaluate.foreign import maps_from_files as maps_from_files
from saliency_audit.commands.evaluate.foreign_function import file_of_callable as file_of_callable
from saliency_audit.commands.evaluate.foreign_function import (
    maps_from_callable as maps_from_callable,
)
from saliency_audit.commands.evaluate.verdict import EVALUATE_WORDS as EVALUATE_WORDS
from saliency_audit.commands.evaluate.verdict import evaluate_chances as evaluate_chances
from saliency_audit.commands.evaluate.verdict import evaluate_sentence as evaluate_sentence
from saliency_audit.commands.evaluate.verdict import evaluate_verdicts as evaluate_verdicts
from saliency_audit.commands.explain import explain as explain
from saliency_audit.commands.finetune.audit import finetune as finetune
from saliency_audit.commands.finetune.before_and_after import before_and_after as before_and_after
from saliency_audit.commands.finetune.before_and_after import (
    check_before_and_after as check_before_and_after,
)
from saliency_audit.commands.finetune.verdict import FINETUNE_WORDS as FINETUNE_WORDS
from saliency_audit.commands.finetune.verdict import finetune_chances as finetune_chances
from saliency_audit.commands.finetune.verdict import finetune_sentence as finetune_sentence
from saliency_audit.commands.finetune.verdict import finetune_verdicts as finetune_verdicts
from saliency_audit.commands.fool.audit import SCALARS_BY_DEFAULT as SCALARS_BY_DEFAULT
from saliency_audit.commands.fool.audit import fool as fool
from saliency_audit.commands.fool.forgery import MODEL_FILES as MODEL_FILES
from saliency_audit.commands.fool.forgery import bounds as bounds
from saliency_audit.commands.fool.verdict import FOOL_WORDS as FOOL_WORDS
from saliency_audit.commands.fool.verdict import all_kept as all_kept
from saliency_audit.commands.fool.verdict import fool_sentence as fool_sentence
from saliency_audit.commands.fool.verdict import fool_verdicts as fool_verdicts
from saliency_audit.commands.fool.verdict import kept_promises as kept_promises
from saliency_audit.commands.picture import load_picture as load_picture
from saliency_audit.commands.picture import picture_sha256 as picture_sha256
from saliency_audit.commands.table import table as table
