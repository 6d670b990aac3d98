"""Networks by name: factories, pretrained weights, profiles of parameters and MACs."""
