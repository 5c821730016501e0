"""tensorgrad.nn.utils.parametrizations: ready-made ways to compute a parameter from others."""

from tensorgrad.nn.weight_norm import parametrized_weight_norm as weight_norm

__all__ = ["weight_norm"]
