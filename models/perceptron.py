"""The first neurons that learnt: the Perceptron (F. Rosenblatt, "The Perceptron: A Probabilistic Model for Information
Storage and Organization in the Brain", Psychological Review 65(6), 1958) and Adaline (B. Widrow, M. Hoff, "Adaptive
Switching Circuits", IRE WESCON, 1960).

    Perceptron    y = 1 if w.x + b > 0 else 0        w += alpha (d - y) x      after every sample
    Adaline       y = w.x + b                        w += alpha (d - y) x      which is gradient descent on (d - y)^2 / 2
"""

from __future__ import annotations

from typing import Any

from tensorgrad import nn
from tensorgrad.creation import zeros
from tensorgrad.errors import ShapeError
from tensorgrad.mode import no_grad
from tensorgrad.models.build import builder
from tensorgrad.nn.arguments import at_least
from tensorgrad.tensor import Tensor


class _Neurons(nn.Module):
    """Weights (units, in_features) and biases (units), 0 at first, and the rule by which they learn."""

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, in_features: int = 2, units: int = 1) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_features = at_least(name, "in_features", in_features, 1)
        self.units = at_least(name, "units", units, 1)
        self.weight = nn.Parameter(zeros(units, in_features))
        self.bias = nn.Parameter(zeros(units))

    def reset_parameters(self) -> None:
        """Forget everything: weights and biases 0."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def learn(self, x: Tensor, d: Tensor, alpha: float = 1.0) -> int:
        """Go once through the samples, one after the other, with w += alpha (d - y) x and b += alpha (d - y).

        x  (N, in_features); d (N, units), the wanted outputs
        Returns for how many samples the weights changed.
        """
        if x.ndim != 2 or x.shape[1] != self.in_features or d.shape != (x.shape[0], self.units):
            raise ShapeError(
                f"{type(self).__name__}.learn: x has shape {x.shape} and d {d.shape}; they must be (N, {self.in_features}) "
                f"and (N, {self.units})"
            )
        changed = 0
        with no_grad():
            for sample, wanted in zip(x, d):
                error = wanted - self(sample)  # (units)
                if bool((error != 0.0).any()):
                    self.weight += alpha * error.unsqueeze(1) * sample  # (units, 1) * (in_features)
                    self.bias += alpha * error
                    changed += 1
        return changed

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.units}"


class Perceptron(_Neurons):
    """1 where w.x + b > 0, else 0: (..., in_features) -> (..., units). Nothing differentiable about it.

    Where a line divides the samples, `learn` finds one after finitely many mistakes.

    >>> import tensorgrad
    >>> x, either = tensorgrad.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), tensorgrad.tensor([[0.0], [1], [1], [1]])
    >>> neuron = Perceptron(2)
    >>> while neuron.learn(x, either):
    ...     pass
    >>> neuron(x).flatten().tolist()
    [0.0, 1.0, 1.0, 1.0]
    """

    def forward(self, x: Tensor) -> Any:
        return (nn.functional.linear(x, self.weight, self.bias) > 0.0).to(self.weight.dtype)


class Adaline(_Neurons):
    """w.x + b: (..., in_features) -> (..., units), learning by its linear output; a threshold comes after it.

    >>> import tensorgrad
    >>> x, both = tensorgrad.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), tensorgrad.tensor([[-1.0], [-1], [-1], [1]])
    >>> neuron = Adaline(2)
    >>> for _ in range(100):
    ...     _ = neuron.learn(x, both, alpha=0.05)
    >>> (neuron(x) > 0.0).flatten().tolist()
    [False, False, False, True]
    """

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


perceptron = builder("perceptron", Perceptron, "Rosenblatt's Perceptron, (N, in_features) -> (N, units); 1958.")
adaline = builder("adaline", Adaline, "Adaline, (N, in_features) -> (N, units); Widrow & Hoff, 1960.")
