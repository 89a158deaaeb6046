"""Prints how long scikit-image's skeletonize alone takes on each mask, milliseconds, as JSON: the fastest of ROUNDS runs.

    skeletonize.py ROUNDS MASK.png …
"""

import json
import sys
import time

import numpy as np
import skimage
from skimage.io import imread
from skimage.morphology import skeletonize

rounds = int(sys.argv[1])
fastest = []
for path in sys.argv[2:]:
    mask = np.ascontiguousarray(imread(path) > 127)
    skeletonize(mask)  # what is loaded at the first call does not count
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        skeletonize(mask)
        times.append(1000 * (time.perf_counter() - start))
    fastest.append(min(times))
json.dump({"version": skimage.__version__, "ms": fastest}, sys.stdout)
