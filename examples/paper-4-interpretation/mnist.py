"""P4's MNIST experiment: six trainings, and how robust and how steep the networks are.

python mnist.py MNIST (--quick | --full) [--seeds N] [--output DIR]

MNIST is a folder with the four files of MNIST. An interrupted run goes on where it stopped.
"""

from tables import Experiment, Size, main

NETWORK = ["--arch", "mnist_cnn:MnistCnn", "--channels", "1", "--size", "28"]
EXPERIMENT = Experiment(
    name="mnist",
    title="Tables 1, 3",
    kind="mnist",
    eps="1.5",
    quick=Size(  # see mnist.md
        network=NETWORK,
        training=[
            "--max-train", "5000", "--epochs", "8", "--lr", "0.03", "--train-batch-size", "64",
        ],
        objectives={
            "adv": ["--steps", "7"],
            "jacobian": ["--weight", "0.04"],
            "interp-r": ["--weight", "0.15"],
            "interp-r-perm": ["--weight", "0.07"],
            "interp-nr": ["--weight", "0.1"],
        },
        teacher=["--teacher-samples", "10"],
        attack_steps="20",
        images=(10_000, 1000, 1000),
        seeds=1,
        summary="5,000 images, 8 epochs, one seed",
    ),
    full=Size(
        network=NETWORK,
        training=["--epochs", "20", "--lr", "0.01", "--train-batch-size", "64"],
        objectives={  # P4's weights; it does not print Jacobian's, chosen for an equal final loss
            "adv": ["--steps", "40"],
            "jacobian": ["--weight", "0.025"],
            "interp-r": ["--weight", "0.07"],
            "interp-r-perm": ["--weight", "0.05"],
            "interp-nr": ["--weight", "0.33"],
        },
        teacher=[],
        attack_steps="40",
        images=(10_000, 10_000, 60_000),
        seeds=5,
        summary="60,000 images, 20 epochs, five seeds",
    ),
    paper={  # Tables 1 and 3
        "std": (99.38, 61.05, 7.43, 3.93),
        "adv": (99.29, 90.21, 2.48, 1.47),
        "jacobian": (99.13, 82.86, 1.69, 0.68),
        "interp-r": (99.15, 85.17, 1.72, 1.19),
        "interp-r-perm": (99.12, 80.83, 0.85, 1.67),
        "interp-nr": (99.13, 60.96, 5.45, 2.37),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
