"""What `jaxrnn.linen` and `jaxrnn.nnx` share: names, boxes, carries, and Flax's conventions."""
