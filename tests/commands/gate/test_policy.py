"""What a policy may say, and what is said of one that makes no sense."""

import pytest

from saliency_audit.assets import default_policy
from saliency_audit.catalogue.needs import NEEDS
from saliency_audit.commands.gate.policy import PolicyCheck, read_policy
from saliency_audit.errors import InputError
from saliency_audit.metrics import METRICS

ONE = '[[check]]\nmetric = "deletion"\nsaliency = "gradient"\nat_most = 0.3\n'


def read(text):
    return read_policy(text, "policy.toml")


def test_the_default_policy_is_one():
    policy = read_policy(default_policy(), "default")
    assert [check.name for check in policy.checks] == [
        "accuracy",
        "scalar-agreement",
        "level-coherence",
        "level-coherence",
        "completeness",
        "completeness-log-prob",
        "deletion",
        "sanity-cascade",
    ]
    assert policy.data == {"max_samples": 64}
    assert all(check.inconclusive == "fail" for check in policy.checks)
    # An honest network can be above the cascade's limit.
    assert [check.name for check in policy.checks if check.level == "warn"] == ["sanity-cascade"]


def test_what_it_suggests_in_comments_is_a_policy_too():
    examples = default_policy().partition("What else a policy can ask")[2].partition("\n")[2]
    text = "\n".join(line.removeprefix("# ").removeprefix("#") for line in examples.splitlines())
    kinds = [(check.kind, check.limit) for check in read(text).checks]
    assert kinds == [("metric", "no_worse_than"), ("trick", "verdict"), ("attack", "verdict")]


def test_a_check_is_read_with_its_options_and_the_run_s_defaults():
    policy = read(
        '[run]\nscalar = "prob"\nlevel = "warn"\n'
        '[[check]]\nmetric = "deletion"\nsaliency = ["gradient", "random"]\nsteps = 16\n'
        'better_than = "chance"\nlevel = "fail"\n'.replace(
            'better_than = "chance"', "at_most = 0.9"
        )
    )
    first, second = policy.checks
    assert first == PolicyCheck(
        "metric", "deletion", "gradient", "prob", "at_most", 0.9, options={"steps": 16}, line=4
    )
    assert second.scalar == ""  # a control explains none
    assert first.title == "deletion × gradient of prob (steps=16)"


def test_fractions_and_lists():
    check = read(
        '[[check]]\nattack = "topk"\nsaliency = "gradient"\neps = "2/255"\nsteps = 3\n'
        'search = "sign"\nsurrogate = "softplus"\nverdict = "steady"\n'
    ).checks[0]
    assert check.options["eps"] == pytest.approx(2 / 255)
    assert check.parameters == {"steps": 3, "rule": "sign", "smooth": "softplus"}
    assert check.value == ("steady",)
    assert check.title == ("topk × gradient (eps=2/255, steps=3, search=sign, surrogate=softplus)")
    counts = read(
        '[[check]]\nmetric = "aopc"\nsaliency = "gradient"\nregions = [5, 10]\nat_least = 0'
    ).checks[0]
    assert counts.options == {"regions": (5, 10)}
    assert counts.parameters == {"counts": (5, 10)}


def test_a_check_of_another_name_is_measured_by_its_metric():
    check = read(
        '[[check]]\nmetric = "sanity-cascade-ssim"\nsaliency = "gradient"\nat_most = 0.5\ndraws = 1'
    ).checks[0]
    assert (check.name, check.metric) == ("sanity-cascade-ssim", "sanity-cascade")


def test_every_metric_can_stand_in_a_policy_but_what_trains_anew_or_makes_images():
    for name, metric in METRICS.items():
        saliency = "" if metric.of == "model" else 'saliency = "gradient"\n'
        beside = "".join(
            f'[{NEEDS[need].table}]\n{need} = "x"\n' for need in metric.needs if need != "labels"
        )
        limit = "at_most" if metric.checks[name].higher_is_better is False else "at_least"
        text = f'{beside}[[check]]\nmetric = "{name}"\n{saliency}{limit} = 0.5\n'
        if metric.of in ("training", "samples") or metric.networks:
            worse = " --fail-on worse" if metric.verdict else "$"
            with pytest.raises(InputError, match=f"evaluate --metric {name}{worse}"):
                read(text)
        else:
            assert read(text).checks[0].metric == name


@pytest.mark.parametrize(
    ("metric", "limit", "said"),
    [
        ("deletion", "at_most = 1", "at_most is 1, which every model keeps (deletion lies"),
        ("deletion", "at_most = -0.1", "at_most is -0.1, which no model can keep"),
        ("deletion", "at_least = 0.5", "of deletion lower is better; give at_most"),
        ("preservation", "at_most = 0.5", "of preservation higher is better; give at_least"),
        ("preservation", "at_least = 0", "which every model keeps"),
        ("preservation", "at_least = 1.5", "which no model can keep (preservation lies between 0"),
        ("sparsity-gini", "at_least = 0", "which every model keeps"),
        ("sanity-cascade", "at_most = 1.0", "which every model keeps"),
        ("deletion", "no_worse_than = 'baseline'\ntolerance = 1", "nothing is worse than that"),
    ],
)
def test_a_limit_that_decides_nothing_is_refused(metric, limit, said):
    with pytest.raises(InputError) as problem:
        read(f"[[check]]\nmetric = '{metric}'\nsaliency = 'gradient'\n{limit}")
    line = 5 if "tolerance" in limit else 4
    assert str(problem.value).startswith(f"policy.toml, line {line}: ")
    assert said in str(problem.value)


@pytest.mark.parametrize("limit", ["at_least = 1", "at_least = -0.5", "at_most = 0.5"])
def test_a_limit_at_the_hard_end_and_any_of_what_has_no_direction_is_one(limit):
    name = "preservation" if limit == "at_least = 1" else "sanity-cascade-signed"
    text = f"[[check]]\nmetric = '{name}'\nsaliency = 'gradient'\n{limit}"
    assert read(text).checks[0].name == name


def test_a_fill_may_be_a_number_as_toml_has_it():
    for fill, kept in (("0.5", "0.5"), ("1", "1.0"), ("'0.5'", "0.5"), ("'blur'", "blur")):
        assert read(ONE + f"fill = {fill}\n").checks[0].options == {"fill": kept}


def test_a_policy_that_only_warns_is_told_from_one_that_refuses():
    assert read(ONE).refuses
    assert not read(ONE + 'level = "warn"').refuses
    assert not read('[run]\nlevel = "warn"\n' + ONE).refuses


def test_each_key_keeps_its_line():
    assert read("\n" + ONE).checks[0].lines == {
        "metric": 3,
        "saliency": 4,
        "at_most": 5,
    }


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", None, "has no [[check]]"),
        ("[[check]\n", None, "not TOML"),
        ("[[check]]\nmetric = \n", None, "line 2"),
        (ONE + "[chek]\n", 5, "unknown key of the policy 'chek'. Did you mean 'check'?"),
        ("[runn]\n" + ONE, 1, "Did you mean 'run'?"),
        ("check = 3\n", 1, "write [[check]]"),
        ("[check]\nmetric = 'deletion'\n", 1, "write [[check]]"),
        ("[data]\nmax_sample = 3\n" + ONE, 2, "Did you mean 'max_samples'?"),
        ("[data]\nmax_samples = 'many'\n" + ONE, 2, "max_samples is 'many'; give a whole number"),
        ("[data]\nmax_samples = 0\n" + ONE, 2, "max_samples is 0; give at least 1"),
        (
            "[[check]]\nmetric = 'retrieval'\nsaliency = 'gradient'\nview = 'symmetric'\n",
            4,
            "view is 'symmetric'; that is an unknown choice",
        ),
        ("[data]\nmax_samples = true\n" + ONE, 2, "max_samples is true; give a whole number"),
        ("[run]\n\nbatch_size = 'big'\n" + ONE, 3, "batch_size is 'big'"),
        ("[run]\nscalar = 'logits'\n" + ONE, 2, "Did you mean 'logit'?"),
        ("[run]\ntarget = 'labels'\n" + ONE, 2, "Did you mean 'label'?"),
        (ONE + ONE.replace("metric", "metrc"), 6, "Did you mean 'metric'?"),
        (ONE + ONE.replace("deletion", "deletoin"), 6, "Did you mean 'deletion'?"),
        (ONE + ONE.replace("gradient", "gradiant"), 7, "Did you mean 'gradient'?"),
        (ONE + ONE.replace("at_most", "at_mots"), 8, "Did you mean 'at_most'?"),
        (ONE + ONE.replace("0.3", "'low'"), 8, "at_most is 'low'; give a number"),
        (ONE + ONE.replace("0.3", "nan"), 8, "give a number"),
        (ONE + "at_least = 0.1", 1, "has at_least and at_most"),
        (ONE.replace("at_most = 0.3", ""), 1, "has none"),
        (ONE.replace("saliency", "trick"), 1, "has metric and trick"),
        ("[[check]]\nsaliency = 'gradient'\n", 1, "neither metric, trick nor attack"),
        (ONE.replace('saliency = "gradient"\n', ""), 1, "add saliency"),
        (ONE + "steps = 'x'", 5, "steps is 'x'; give a whole number"),
        (ONE + "step = 3", 5, "unknown key of a [[check]] of deletion 'step'."),
        (ONE + "tolerance = 0.1", 5, "tolerance is for no_worse_than"),
        (ONE + "verdict = ['unmoved']", 5, "verdict is for tricks and attacks"),
        ("[run]\nseed = 1\njudge = 'x'\n" + ONE, 3, "judge is in [run] for discriminative"),
        ("[run]\nother = 'x'\n" + ONE, 2, "other is in [run] for stability"),
        ("[data]\nannotations = 'x'\n" + ONE, 2, "for gaze-overlap, pointing-game, which no"),
        (ONE + "level = 'warning'", 5, "Did you mean 'warn'?"),
        (ONE + "inconclusive = 'ok'", 5, "unknown choice 'ok'"),
        ("[[check]]\nmetric='accuracy'\nsaliency='gradient'\nat_least=0", 1, "the model alone"),
        ("[[check]]\nmetric='accuracy'\nbetter_than='random'", 3, "does not compare"),
        (
            "[[check]]\nmetric='sanity-cascade'\nsaliency='gradient'\nbetter_than='random'",
            4,
            "at_most",
        ),
        (
            "[[check]]\nmetric='sparsity-gini'\nsaliency='gradient'\nbetter_than='random'",
            4,
            "neither end",
        ),
        (
            "[[check]]\nmetric='deletion'\nsaliency='gradient'\nbetter_than='chance'",
            4,
            "none known beforehand",
        ),
        (
            "[[check]]\nmetric='deletion'\nsaliency='random'\nbetter_than='random'",
            4,
            "better than itself",
        ),
        (
            "[[check]]\nmetric='stability'\nsaliency='gradient'\nat_least=0.5",
            1,
            "in [run], such as other",
        ),
        (
            "[[check]]\nmetric='gaze-overlap'\nsaliency='gradient'\nat_least=0.5",
            1,
            "in [data], such as annotations",
        ),
        ("[[check]]\ntrick='logit-shift'\nsaliency='gradient'", 1, 'verdict = ["unmoved"]'),
        (
            "[[check]]\ntrick='logit-shift'\nsaliency='gradient'\nverdict='steady'",
            4,
            "unknown verdict",
        ),
        (
            "[[check]]\ntrick='logit-shift'\nsaliency='gradient'\nverdict='undefined'",
            4,
            "never passes",
        ),
        (
            "[[check]]\ntrick='logit-shift'\nform='wrapper'\nsaliency='gradient'\nverdict='forged'",
            3,
            "form",
        ),
        (
            "[[check]]\ntrick='logit-shift'\nshift='linea'\nsaliency='gradient'\nverdict='forged'",
            3,
            "'linear'",
        ),
        ("[[check]]\nattack='pgd'\nsaliency='gradient'\nverdict='steady'", 2, "robust-accuracy"),
        (
            "[[check]]\nattack='topk'\nsaliency='gradient'\nverdict='steady'\neps='0.1/255'",
            5,
            "8 bits",
        ),
        (
            "[[check]]\nattack='topk'\nsaliency='gradient'\n"
            "verdict=['steady', 'shifted', 'fragile']",
            4,
            "so nothing fails",
        ),
        ("[[check]]\nattack='topk'\nsaliency='gradient'\nat_least=0.5", 4, "judged by verdict"),
    ],
)
def test_what_makes_no_sense_is_said_with_its_line(text, line, said):
    with pytest.raises(InputError) as problem:
        read(text)
    message = str(problem.value)
    assert said in message
    assert "\n" not in message
    if line is not None:
        assert message.startswith(f"policy.toml, line {line}: "), message


@pytest.mark.parametrize("text", ["'0.5'", "'half'", "'1/0'"])
def test_text_is_no_number_unless_it_is_a_fraction(text):
    with pytest.raises(InputError, match=r"line 3: at_least is .*; give a number, or a fraction"):
        read_policy(f"[[check]]\nmetric = 'accuracy'\nat_least = {text}\n", "policy")
    check = read_policy("[[check]]\nmetric = 'accuracy'\nat_least = '1/2'\n", "policy").checks[0]
    assert check.value == 0.5
