"""The first neurons that learnt, on handwritten digits: is it a 1, or is it an 8?

Both go through the samples one after the other, with w += alpha (d - y) x. The Perceptron's y is 0 or 1, so it changes
only after a mistake; Adaline's is the sum itself, so it goes down the slope of the squared error.

python examples/perceptron.py [--quick]
"""

import sys

import tensorgrad as tg
from tensorgrad.data import Digits
from tensorgrad.models import Adaline, Perceptron

passes = 3 if "--quick" in sys.argv else 30


def ones_and_eights(train):
    """Pixels from 0 to 1, (N, 64), and whether it is an 8, (N, 1)."""
    digits = Digits(train=train)
    chosen = (digits.targets == 1) | (digits.targets == 8)
    x = tg.tensor(digits.data[chosen].reshape(-1, 64) / 16, dtype=tg.float32)
    return x, tg.tensor(digits.targets[chosen] == 8).to(tg.float32).unsqueeze(1)


x, d = ones_and_eights(train=True)
x_test, d_test = ones_and_eights(train=False)

perceptron = Perceptron(64)
for turn in range(passes):
    changes = perceptron.learn(x, d)
    print(f"Perceptron, pass {turn + 1}: {changes} of {len(x)} samples changed it")
    if changes == 0:
        break

adaline = Adaline(64)
for turn in range(passes):
    adaline.learn(x, 2 * d - 1, alpha=0.003)
    error = ((adaline(x) - (2 * d - 1)) ** 2).mean().item()
    print(f"Adaline, pass {turn + 1}: mean squared error {error:.4f}")

right = [int((perceptron(x_test) == d_test).sum().item()), int(((adaline(x_test) > 0) == (d_test > 0)).sum().item())]
print(f"right on {len(x_test)} test pictures: Perceptron {right[0]}, Adaline {right[1]}")
print(f"test accuracy of the worse: {100 * min(right) / len(x_test):.2f} %")
