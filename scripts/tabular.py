#!/usr/bin/env python3
"""Makes the tables of the example `tabular`, and the figures it compares with, from those of scikit-learn 1.9.1.

    pip install scikit-learn==1.9.1
    scripts/tabular.py              # writes data/iris.csv, wine.csv, breast-cancer.csv, diabetes.csv
    scripts/tabular.py --reference  # trains scikit-learn's networks, prints what the example has as REFERENCES; takes minutes

Rows are mixed, then put in the order of their classes, so that every fifth row is a fair sample of all: the five splits of the example.
"""

import pathlib
import sys
import warnings

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
SPLITS = 5
# Columns, hidden units, and whether the last column is a number and no class.
TABLES = {
    "iris": (datasets.load_iris, (16, 8), False),
    "wine": (datasets.load_wine, (16, 8), False),
    "breast-cancer": (datasets.load_breast_cancer, (32, 16), False),
    "diabetes": (lambda: datasets.load_diabetes(scaled=False), (32, 16), True),
}


def write():
    for name, (load, _, number) in TABLES.items():
        table = load()
        order = np.random.default_rng(0).permutation(len(table.target))
        if not number:
            order = order[np.argsort(table.target[order], kind="stable")]
        with open(DATA / f"{name}.csv", "w") as file:
            for row in order:
                values = [f"{value:.7g}" for value in table.data[row]]
                print(*values, f"{table.target[row]:g}", sep=",", file=file)


def read(name):
    table = np.loadtxt(DATA / f"{name}.csv", delimiter=",")
    return table[:, :-1], table[:, -1]


def digits():
    table = np.loadtxt(DATA / "optdigits.tes", delimiter=",")
    there = datasets.load_digits()
    assert (table[:, :-1] == there.data).all() and (table[:, -1] == there.target).all(), "the digits of scikit-learn"
    return table[:, :-1], table[:, -1]


def standard(values, training):
    mean, deviation = training.mean(axis=0), training.std(axis=0)
    return (values - mean) / np.where(deviation > 0, deviation, 1)


def scores(inputs, targets, make, number):
    """Of every split: the share of right answers, or R2 of numbers."""
    found = []
    for split in range(SPLITS):
        test = np.arange(len(inputs)) % SPLITS == split
        x, own = standard(inputs[~test], inputs[~test]), standard(inputs[test], inputs[~test])
        y = standard(targets[~test], targets[~test]) if number else targets[~test]
        answers = standard(targets[test], targets[~test]) if number else targets[test]
        network = make(split).fit(x, y)
        if number:
            left = ((network.predict(own).reshape(answers.shape) - answers) ** 2).sum()
            found.append(1 - left / ((answers - answers.mean(axis=0)) ** 2).sum())
        else:
            found.append(float((network.predict(own) == answers).mean()))
    return found


def reference():
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [(name, *read(name), *rest) for name, (_, *rest) in TABLES.items()]
    pixels, labels = digits()
    rows.insert(3, ("digits", pixels, labels, (48, 32), False))
    rows.append(("autoencoder", pixels, pixels, (16,), True))
    for name, inputs, targets, hidden, number in rows:
        kind = MLPRegressor if number else MLPClassifier

        # The activation, the rate and the batches of the example; the rest is scikit-learn's default.
        def make(split):
            return kind(hidden_layer_sizes=hidden, activation="tanh", learning_rate_init=3e-3, batch_size=32, random_state=split)

        own = scores(inputs, targets, make, number)
        print(f"{name}: mean {np.mean(own):.4f}, min {min(own):.4f}, max {max(own):.4f}", flush=True)


if sys.argv[1:] == ["--reference"]:
    reference()
elif sys.argv[1:]:
    sys.exit(__doc__)
else:
    write()
