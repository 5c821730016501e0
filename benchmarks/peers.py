"""Other libraries that differentiate NumPy, where they are installed: a LeNet-5 step and the chain of small operations.

Each function is a contestant, as in steps.py. These libraries need an older NumPy than ours, so they live in a virtual
environment of their own (`python -m benchmarks.run --peers path/to/its/python`):

    pip install "numpy<1.24" "setuptools<66" chainer==7.8.1 dezero autograd "mygrad<2.3"
"""

from __future__ import annotations

from typing import Any

from benchmarks.steps import CHAIN, Step, batch_of

NAMES = ("chainer", "dezero", "mygrad", "autograd")
#: autograd has no convolution worth the name: no LeNet for it.
WITH_LENET = ("chainer", "dezero", "mygrad")


def _numbers(size: int) -> tuple[Any, Any]:
    import numpy

    shape = (size,) if size else ()
    return numpy.full(shape, 1.0001, numpy.float32), numpy.full(shape, 0.5, numpy.float32)


def chain_chainer(size: int) -> Step:
    """Chainer 7."""
    import chainer

    a, b = (chainer.Variable(values) for values in _numbers(size))

    def step() -> None:
        z = a
        for _ in range(CHAIN // 2):
            z = z * a
            z = z + b
        a.cleargrad()
        b.cleargrad()
        (chainer.functions.sum(z) if size else z).backward()

    return step


def chain_dezero(size: int) -> Step:
    """DeZero."""
    import dezero

    a, b = (dezero.Variable(values) for values in _numbers(size))

    def step() -> None:
        z = a
        for _ in range(CHAIN // 2):
            z = z * a
            z = z + b
        a.cleargrad()
        b.cleargrad()
        (dezero.functions.sum(z) if size else z).backward()

    return step


def chain_mygrad(size: int) -> Step:
    """MyGrad 2."""
    import mygrad

    a, b = (mygrad.tensor(values) for values in _numbers(size))

    def step() -> None:
        z = a
        for _ in range(CHAIN // 2):
            z = z * a
            z = z + b
        z.sum().backward()
        a.null_grad()
        b.null_grad()

    return step


def chain_autograd(size: int) -> Step:
    """autograd."""
    from autograd import grad

    a, b = _numbers(size)

    def value(a: Any, b: Any) -> Any:
        z = a
        for _ in range(CHAIN // 2):
            z = z * a
            z = z + b
        return z.sum() if size else z

    gradient = grad(value, (0, 1))
    return lambda: gradient(a, b)


def lenet_chainer() -> Step:
    """Chainer's own links and optimiser."""
    import chainer
    import chainer.functions as F
    import chainer.links as L
    import numpy

    images, labels = batch_of("LeNet-5")
    labels = labels.astype(numpy.int32)

    class Net(chainer.Chain):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            with self.init_scope():
                self.conv1, self.conv2 = L.Convolution2D(1, 6, 5), L.Convolution2D(6, 16, 5)
                self.full1, self.full2, self.full3 = L.Linear(400, 120), L.Linear(120, 84), L.Linear(84, 10)

        def forward(self, x: Any) -> Any:
            x = F.max_pooling_2d(F.relu(self.conv1(x)), 2)
            x = F.max_pooling_2d(F.relu(self.conv2(x)), 2)
            return self.full3(F.relu(self.full2(F.relu(self.full1(x)))))

    model = Net()
    optimizer = chainer.optimizers.MomentumSGD(1e-4, 0.9).setup(model)

    def step() -> None:
        model.cleargrads()
        F.softmax_cross_entropy(model(images), labels).backward()
        optimizer.update()

    return step


def lenet_dezero() -> Step:
    """DeZero's layers and optimiser."""
    import dezero.functions as F
    import dezero.layers as L
    from dezero import Model, optimizers

    images, labels = batch_of("LeNet-5")

    class Net(Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = L.Conv2d(6, 5), L.Conv2d(16, 5)
            self.full1, self.full2, self.full3 = L.Linear(120), L.Linear(84), L.Linear(10)

        def forward(self, x: Any) -> Any:
            x = F.pooling(F.relu(self.conv1(x)), 2, 2)
            x = F.pooling(F.relu(self.conv2(x)), 2, 2)
            x = F.reshape(x, (x.shape[0], -1))
            return self.full3(F.relu(self.full2(F.relu(self.full1(x)))))

    model = Net()
    optimizer = optimizers.MomentumSGD(1e-4, 0.9).setup(model)

    def step() -> None:
        loss = F.softmax_cross_entropy(model(images), labels)
        model.cleargrads()
        loss.backward()
        optimizer.update()

    return step


def lenet_mygrad() -> Step:
    """MyGrad's functions; it has no optimiser, so momentum is written out."""
    import mygrad
    import numpy
    from mygrad.nnet.activations import relu
    from mygrad.nnet.layers import conv_nd, max_pool
    from mygrad.nnet.losses import softmax_crossentropy

    images, labels = batch_of("LeNet-5")
    random = numpy.random.default_rng(0)
    shapes = [(6, 1, 5, 5), (16, 6, 5, 5), (400, 120), (120, 84), (84, 10)]
    weights = [mygrad.tensor(random.standard_normal(s).astype(numpy.float32) * 0.05) for s in shapes]
    biases = [mygrad.tensor(numpy.zeros(n, numpy.float32)) for n in (6, 16, 120, 84, 10)]
    parameters = [*weights, *biases]
    momenta = [numpy.zeros_like(p.data) for p in parameters]

    def step() -> None:
        x: Any = images
        for w, b in zip(weights[:2], biases[:2]):
            x = max_pool(relu(conv_nd(x, w, stride=1) + b.reshape(1, -1, 1, 1)), (2, 2), 2)
        x = x.reshape(x.shape[0], -1)
        for w, b in zip(weights[2:4], biases[2:4]):
            x = relu(mygrad.matmul(x, w) + b)
        softmax_crossentropy(mygrad.matmul(x, weights[4]) + biases[4], labels).backward()
        for p, v in zip(parameters, momenta):
            v *= 0.9
            v += p.grad
            p.data -= 1e-4 * v
            p.null_grad()

    return step
