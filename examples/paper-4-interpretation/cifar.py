"""P4's CIFAR-10 experiment: six trainings, and how robust and how steep the networks are.

python cifar.py CIFAR10 (--quick | --full) [--seeds N] [--output DIR]

CIFAR10 is a folder with the published files, or with train/ and test/ of class folders. An
interrupted run goes on where it stopped.
"""

from tables import ACCURACY, UNDER_ATTACK, Experiment, Size, main

COLOUR = ["--channels", "3", "--size", "32"]
EXPERIMENT = Experiment(
    name="cifar",
    title="Tables 2, 3",
    kind="cifar10",
    eps="0.314",
    quick=Size(  # see cifar.md
        network=["--arch", "cifar_cnn:small", *COLOUR, "--mean", "0.5", "--std", "0.25"],
        training=[
            "--max-train", "10000", "--epochs", "12", "--lr", "0.03", "--train-batch-size", "50",
        ],
        objectives={
            "adv": ["--steps", "4"],
            "jacobian": ["--weight", "0.01"],
            "interp-r": ["--weight", "0.035"],
            "interp-r-perm": ["--weight", "0.025"],
            "interp-nr": ["--weight", "0.015"],
        },
        teacher=["--teacher-samples", "10"],
        attack_steps="20",
        images=(10_000, 1000, 1000),
        seeds=3,
        summary="10,000 images, 12 epochs, a small network, three seeds",
    ),
    full=Size(
        network=["--arch", "cifar_cnn:CifarCnn", *COLOUR],
        training=["--epochs", "20", "--lr", "0.01", "--train-batch-size", "100"],
        objectives={  # Interp. R. has P4's, the others that of an equal final loss
            "adv": ["--steps", "40"],
            "jacobian": ["--weight", "0.007"],
            "interp-r": ["--weight", "0.025"],
            "interp-r-perm": ["--weight", "0.018"],
            "interp-nr": ["--weight", "0.011"],
        },
        teacher=[],
        attack_steps="40",
        images=(10_000, 10_000, 50_000),
        seeds=5,
        summary="50,000 images, 20 epochs, P4's network, five seeds; for a GPU",
    ),
    paper={  # Table 2; it has no controls, and Table 3 is of MNIST alone
        "std": (78.29, 14.93, None, None),
        "adv": (74.51, 57.43, None, None),
        "jacobian": (74.21, 51.34, None, None),
        "interp-r": (74.66, 51.43, None, None),
        "interp-r-perm": (None,) * 4,
        "interp-nr": (None,) * 4,
    },
    claims={
        "under attack: Interp. R. Perm. above Interp. N.R.": (
            UNDER_ATTACK, "interp-r-perm", "interp-nr",
        ),
        "accuracy: Std. above Adv.": (ACCURACY, "std", "adv"),
        "accuracy: Std. above Jacobian": (ACCURACY, "std", "jacobian"),
        "accuracy: Std. above Interp. R.": (ACCURACY, "std", "interp-r"),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
