"""Raw input in, answers out: export, predict, pretrained networks."""
