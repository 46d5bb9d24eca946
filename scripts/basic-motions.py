#!/usr/bin/env python3
"""Makes data/basic-motions.csv from the files of the BasicMotions data set in the PyPI package aeon.

    pip download --no-deps aeon==1.6.0
    unzip aeon-1.6.0-py3-none-any.whl 'aeon/datasets/data/BasicMotions/*.ts'
    scripts/basic-motions.py aeon/datasets/data/BasicMotions > data/basic-motions.csv
"""

import pathlib
import sys

LABELS = ["Standing", "Running", "Walking", "Badminton"]
CHANNELS, TICKS = 6, 100


def series(path):
    """The label and the channels of every series of a .ts file."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    data = [line for line in lines if line and line[0] not in "#@"]
    for line in data:
        *channels, label = line.split(":")
        channels = [[float(value) for value in channel.split(",")] for channel in channels]
        assert len(channels) == CHANNELS and all(len(channel) == TICKS for channel in channels)
        yield LABELS.index(label), channels


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    for part in ["TRAIN", "TEST"]:
        for label, channels in series(directory / f"BasicMotions_{part}.ts"):
            ticks = [round(100 * channels[c][t]) for t in range(TICKS) for c in range(CHANNELS)]
            print(part.lower(), label, *ticks, sep=",")


main()
