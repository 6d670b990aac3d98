"""Training and evaluation: recipes, optimizers, checkpoints, run directories, distributed training."""
