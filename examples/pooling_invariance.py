"""What max pooling does not see: a shift by one pixel, and, over learned filters, the tilt of a stroke.

1. A row of pixels is shifted by one. Every input changes; a maximum of three neighbours changes only if the largest of the
   four values concerned lies at one of the two ends, which is so for two of four: half of the outputs.
2. Three filters, each tuned to strokes of one tilt, look at a stroke. Each of them answers to its own tilt alone; the
   maximum of the three answers to any.

python examples/pooling_invariance.py [--quick]
"""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad.nn import functional as F

pixels = 20_000 if "--quick" in sys.argv else 1_000_000

values = np.random.default_rng(0).permutation(pixels + 1).astype(np.float64)  # no two alike
before, after = (tg.tensor(row[None, None, None]) for row in (values[:-1], values[1:]))
pooled = [F.max_pool2d(x, (1, 3), stride=1) for x in (before, after)]
inputs = 100 * (before != after).to(tg.float64).mean().item()
outputs = 100 * (pooled[0] != pooled[1]).to(tg.float64).mean().item()

steps = np.arange(9) - 4
filters = np.full((3, 1, 9, 9), -0.05)
for tilt, slope in enumerate((-1, 0, 1)):  # strokes leaning to the left, upright, and to the right
    filters[tilt, 0, np.arange(9), np.clip(4 + slope * steps, 0, 8)] = 1.0
strokes = tg.tensor((filters > 0).astype(np.float64))  # (3, 1, 9, 9): the three strokes as pictures
answers = F.conv2d(strokes, tg.tensor(filters))[:, :, 0, 0]  # (stroke, filter)
print("answers of three filters (columns) to strokes of three tilts (rows):")
for row in answers.tolist():
    print("  " + "  ".join(f"{answer:5.2f}" for answer in row) + f"   their maximum: {max(row):.2f}")
assert (answers.max(1).values == answers[0, 0]).all().item(), "the maximum answers alike to every tilt"

print(f"after a shift by one pixel {inputs:.0f} % of the inputs changed; of the max-pooled outputs: {outputs:.2f} %")
