"""The primitives by family, and the functions over Tensors that apply them."""
