"""Transfer: what a network learnt on the digits 0 to 4 helps it with 5 to 9, of which it sees few.

One network learns on 0 to 4; then its features are frozen and it gets a new last layer, trained on five pictures of each of
5 to 9; then the features are let go and all of it is tuned with a low rate. Another one starts from nothing on the
same pictures.

python examples/fine_tune.py [--quick]
"""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import models, nn
from tensorgrad.data import Digits, transforms

quick = "--quick" in sys.argv
FEW = 5  # pictures of each new digit
prepare = transforms.Compose(
    [transforms.ToDtype(np.float32, scale=16), transforms.Resize(32), transforms.Normalize(0.31, 0.38)]
)


def digits(classes, train, each=None):
    """Pictures (N, 1, 32, 32) of some digits and their classes, counted from 0; at most `each` of every digit."""
    everything = Digits(train=train)
    places = [np.flatnonzero(everything.targets == digit)[:each] for digit in classes]
    labels = np.repeat(np.arange(len(classes)), [len(p) for p in places])
    return tg.tensor(prepare(everything.data[np.concatenate(places)][:, None])), tg.tensor(labels)


def train(model, pictures, labels, epochs, lr):
    """Train those parameters that are not frozen."""
    optimizer = tg.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    for _ in range(epochs):
        model.train()
        for batch in tg.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(pictures[batch]), labels[batch]).backward()
            optimizer.step()


def accuracy(model, pictures, labels):
    model.eval()
    with tg.no_grad():
        return 100 * models.accuracy(model(pictures), labels, topk=(1,))[0]


def network():
    return models.small_cnn(num_classes=5)


tg.manual_seed(0)
few, test = digits(range(5, 10), train=True, each=FEW), digits(range(5, 10), train=False)

model = network()
train(model, *digits(range(5), train=True), epochs=4 if quick else 20, lr=2e-3)
print(f"0 to 4, from nothing: {accuracy(model, *digits(range(5), train=False)):.2f} %")

models.replace_head(model, num_classes=5)
handles = models.freeze(model, "features")
train(model, *few, epochs=20 if quick else 60, lr=2e-3)
print(f"5 to 9, {FEW} pictures of each, features frozen: {accuracy(model, *test):.2f} %")

models.unfreeze(model, "features", handles=handles)
train(model, *few, epochs=10 if quick else 40, lr=5e-4)
tuned = accuracy(model, *test)

fresh = network()
train(fresh, *few, epochs=30 if quick else 100, lr=2e-3)
print(f"5 to 9, {FEW} pictures of each, from nothing: {accuracy(fresh, *test):.2f} %")
print(f"5 to 9, fine-tuned: test accuracy {tuned:.2f} %")
