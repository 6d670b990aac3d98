"""The vocabulary of networks for one and two spatial axes: layer functions, blocks, and layers of our own."""
