"""Runs scikit-image's skeletonize alone on a mask once for every line of standard input, and prints how long that took, milliseconds.

    skeletonize.py MASK.png

The first line of the output is the version of scikit-image.
"""

import sys
import time

import numpy as np
import skimage
from skimage.io import imread
from skimage.morphology import skeletonize

mask = np.ascontiguousarray(imread(sys.argv[1]) > 127)
skeletonize(mask)  # what is loaded at the first call does not count
print(skimage.__version__, flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    skeletonize(mask)
    print(1000 * (time.perf_counter() - start), flush=True)
