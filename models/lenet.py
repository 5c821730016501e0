"""LeNet-5: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE 86(11), 1998.

    layer     C1        S2       C3        S4       C5 (linear)   F6 (linear)   output (linear)
    maps      6 of 5x5  / 2      16 of 5x5 / 2      120           84            10
    weights   156       0        2,416     0        48,120        10,164        850             61,706 in all

Above is the modern form: C3 sees all of S2, the pooling has no parameters, the output is linear and trained with cross
entropy. The original (LeNet5Original) has 60,000 trainable parameters: C3 sees only some of S2's maps (1,516), S2 and S4
have a trained factor and bias for each map (12 and 32), every unit is squashed by 1.7159 tanh(2 a / 3), and the output
is the distance from ten fixed pictures of digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad import nn
from tensorgrad.creation import empty, full, tensor, zeros
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import BUILDERS, builder, initialise, with_weights
from tensorgrad.nn.arguments import at_least
from tensorgrad.ops.joining import cat
from tensorgrad.tensor import Tensor

MakeLayer = Callable[[], nn.Module]


class LeNet5(nn.Module):
    """LeNet-5 for pictures of 32x32; see `lenet5`."""

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        activation: MakeLayer = nn.Tanh,
        pooling: Callable[[int], nn.Module] = nn.AvgPool2d,
    ) -> None:
        super().__init__()
        at_least("LeNet5", "num_classes", num_classes, 1)
        at_least("LeNet5", "in_channels", in_channels, 1)
        self.features = nn.Sequential(
            # (N, in_channels, 32, 32)
            nn.Conv2d(in_channels, 6, kernel_size=5),  # C1: (N, 6, 28, 28)
            activation(),
            pooling(2),  # S2: (N, 6, 14, 14)
            nn.Conv2d(6, 16, kernel_size=5),  # C3: (N, 16, 10, 10)
            activation(),
            pooling(2),  # S4: (N, 16, 5, 5)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),  # (N, 400)
            nn.Linear(400, 120),  # C5: (N, 120)
            activation(),
            nn.Linear(120, 84),  # F6: (N, 84)
            activation(),
            nn.Linear(84, num_classes),  # (N, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def lenet5(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    activation: MakeLayer = nn.Tanh,
    pooling: Callable[[int], nn.Module] = nn.AvgPool2d,
    weights: Any = None,
) -> LeNet5:
    """LeNet-5 in its modern form, (N, in_channels, 32, 32) -> scores (N, num_classes); LeCun et al., 1998.

    activation  makes the non-linear layers: nn.Tanh, nn.ReLU, ...
    pooling     makes the pooling layers from their window's size: nn.AvgPool2d, nn.MaxPool2d
    weights     a file or a state dict; drawn if None

    >>> import tensorgrad
    >>> model = lenet5()
    >>> sum(p.numel() for p in model.parameters())
    61706
    >>> model(tensorgrad.zeros(2, 1, 32, 32)).shape
    (2, 10)
    """
    settings = {"activation": activation, "pooling": pooling}
    model: LeNet5 = with_weights(
        "lenet5", LeNet5, weights, {"num_classes": num_classes, "in_channels": in_channels, **settings}
    )
    return model


BUILDERS["lenet5"] = lenet5

# the original

#: Table I of the paper: which of S2's six maps each of C3's sixteen sees.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

# 7x12 pictures of the digits, drawn in the manner of the paper's figure 3, which exists only in print
_DIGITS = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
..###.. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
.##.##. ..###.. ##...## ##...## ...###. ##..... .##.... ##...## ##...## ##...##
##...## .####.. .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. ..####. ##..##. ######. ######. ....##. .#####. ##...##
##...## ...##.. ...##.. .....## ##..##. .....## ##...## ...##.. ##...## .######
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ....##. ##...## ##...## ..##... ##...## ....##.
..###.. .###### ####### .#####. ....##. .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def digit_prototypes() -> list[list[float]]:
    """Ten rows of 84 numbers: the pictures of the digits 0 to 9 line by line, ink +1 and paper -1.

    >>> rows = digit_prototypes()
    >>> len(rows), {len(row) for row in rows}
    (10, {84})
    """
    lines = [line.split() for line in _DIGITS.split("\n") if line]
    return [[1.0 if c == "#" else -1.0 for line in lines for c in line[digit]] for digit in range(10)]


class ScaledTanh(nn.Module):
    """1.7159 tanh(2 x / 3): 1 and -1 go to themselves, where the second derivative is largest. The paper's appendix A."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * (x * (2.0 / 3.0)).tanh()


class Subsampling(nn.Module):
    """The sum of every 2x2 window times a trained factor, plus a trained bias, for each map; layers S2 and S4.

    >>> import tensorgrad
    >>> Subsampling(6)(tensorgrad.zeros(1, 6, 28, 28)).shape
    (1, 6, 14, 14)
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(empty(channels))
        self.bias = nn.Parameter(empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the factors evenly from +-2.4 / 4, for four inputs a unit; biases 0."""
        if not nn.init.is_postponed():
            nn.init.uniform_(self.weight, -0.6, 0.6)
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Any:
        sums = nn.functional.avg_pool2d(x, 2) * 4.0  # (N, C, H, W) -> (N, C, H/2, W/2)
        return sums * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)

    def extra_repr(self) -> str:
        return f"{self.channels}"


class TableConv2d(nn.Module):
    """A convolution whose output maps each see only the input maps that a table names.

    connections  for every output map the input maps it sees; a kernel is trained for each of them and for no other
    kernel_size  of the square kernels

    >>> sum(p.numel() for p in TableConv2d(6, C3_TABLE, 5).parameters())
    1516
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, in_channels: int, connections: Sequence[Sequence[int]], kernel_size: int) -> None:
        super().__init__()
        at_least("TableConv2d", "kernel_size", kernel_size, 1)
        for seen in connections:
            if len(set(seen)) != len(seen) or not set(seen) <= set(range(in_channels)):
                raise ArgumentError(
                    f"TableConv2d: connections has the row {tuple(seen)}; it must name maps from 0 to {in_channels - 1}, "
                    "each once"
                )
        self.in_channels = in_channels
        self.connections = tuple(tuple(seen) for seen in connections)
        self.kernel_size = kernel_size
        count = sum(len(seen) for seen in self.connections)
        self.weight = nn.Parameter(empty(count, kernel_size, kernel_size))
        self.bias = nn.Parameter(empty(len(self.connections)))
        # where each place of a dense weight takes its kernel from; the kernel after the last one is zero
        places = [[count] * in_channels for _ in self.connections]
        number = 0
        for row, seen in zip(places, self.connections):
            for channel in seen:
                row[channel] = number
                number += 1
        self.register_buffer("places", tensor(places), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw each kernel evenly from +-2.4 / fan_in, fan_in being that of its output map; biases 0."""
        if nn.init.is_postponed():
            return
        begin = 0
        for seen in self.connections:
            bound = 2.4 / (len(seen) * self.kernel_size**2)
            kernels = nn.init.uniform_(empty(len(seen), self.kernel_size, self.kernel_size), -bound, bound)
            self.weight.array[begin : begin + len(seen)] = kernels.to(self.weight.device, self.weight.dtype).array
            begin += len(seen)
        nn.init.zeros_(self.bias)

    def dense_weight(self) -> Tensor:
        """(out, in, K, K), zero where the table connects nothing."""
        none = zeros(1, self.kernel_size, self.kernel_size, dtype=self.weight.dtype, device=self.weight.device)
        return cat([self.weight, none], 0)[self.places]

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.dense_weight(), self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {len(self.connections)}, kernel_size={self.kernel_size}"


class RBF(nn.Module):
    """Minus the squared distance of x from each of the prototypes: (N, F) -> (N, num_classes), the nearest the largest.

    The paper's output units give the distance itself, y_i = sum over j of (x_j - w_ij)^2; its sign is turned here so
    that the largest score wins, as everywhere.
    """

    prototypes: Tensor

    def __init__(self, prototypes: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("prototypes", tensor([list(row) for row in prototypes]))

    def forward(self, x: Tensor) -> Tensor:
        return -((x.unsqueeze(1) - self.prototypes) ** 2).sum(2)  # (N, 1, F) - (C, F)


class LeNet5Original(nn.Module):
    """LeNet-5 as published, (N, 1, 32, 32) -> minus the distances (N, 10), to be trained with LeNet5Loss.

    The paper's pictures have paper at -0.1 and ink at 1.175, so that mean and deviation are about 0 and 1.
    init_weights  None, True, 'paper': evenly in +-2.4 / fan_in, biases 0; False: each layer's default

    >>> import tensorgrad
    >>> model = LeNet5Original()
    >>> sum(p.numel() for p in model.parameters())
    60000
    >>> model(tensorgrad.zeros(2, 1, 32, 32)).shape
    (2, 10)
    """

    def __init__(self, init_weights: bool | str | None = None) -> None:
        super().__init__()
        with nn.init.postponed():
            self.c1 = nn.Conv2d(1, 6, 5)  # (N, 6, 28, 28)
            self.s2 = Subsampling(6)  # (N, 6, 14, 14)
            self.c3 = TableConv2d(6, C3_TABLE, 5)  # (N, 16, 10, 10)
            self.s4 = Subsampling(16)  # (N, 16, 5, 5)
            self.c5 = nn.Conv2d(16, 120, 5)  # (N, 120, 1, 1)
            self.f6 = nn.Linear(120, 84)
            self.squash = ScaledTanh()
            self.output = RBF(digit_prototypes())
        initialise(self, init_weights, _even, _even)

    def forward(self, x: Tensor) -> Any:
        for layer in (self.c1, self.s2, self.c3, self.s4, self.c5):
            x = self.squash(layer(x))
        return self.output(self.squash(self.f6(x.flatten(1))))


def _even(name: str, layer: Any) -> bool:
    """Weights evenly in +-2.4 / fan_in, biases 0: the paper's appendix A."""
    if isinstance(layer, (Subsampling, TableConv2d)):
        return False
    fan_in, _ = nn.init.fans(name, layer.weight)
    nn.init.uniform_(layer.weight, -2.4 / fan_in, 2.4 / fan_in)
    nn.init.zeros_(layer.bias)
    return True


class LeNet5Loss(nn.Module):
    """The mean, over a batch, of y_d + log(e^-j + sum over i of e^-y_i): equation 9, y the distances, d the right class.

    The right class's distance is to shrink, the others to grow as far as the rubbish class at j. j=None gives equation
    8, the mean of y_d alone, which has its least value where all distances are 0.

    >>> import tensorgrad
    >>> scores = tensorgrad.tensor([[-0.0, -100.0]])  # minus the distances
    >>> LeNet5Loss(j=1.0)(scores, tensorgrad.tensor([0]))  # log(e^-1 + 1)
    tensor(0.3133)
    """

    def __init__(self, j: float | None = 1.0) -> None:
        super().__init__()
        if j is not None and not j > 0:
            raise ArgumentError(f"LeNet5Loss: j is {j}; it must be positive, or None for equation 8")
        self.j = j

    def forward(self, scores: Tensor, target: Tensor) -> Any:
        if self.j is None:
            return nn.functional.nll_loss(scores, target)
        rubbish = full((scores.shape[0], 1), -self.j, dtype=scores.dtype, device=scores.device)
        # -z_d + log(e^-j + sum of e^z): the cross entropy with one class more, whose score is -j
        return nn.functional.cross_entropy(cat([scores, rubbish], 1), target)

    def extra_repr(self) -> str:
        return f"j={self.j}"


lenet5_original = builder(
    "lenet5_original", LeNet5Original, "LeNet-5 as published, (N, 1, 32, 32) -> (N, 10); LeCun et al., 1998."
)
