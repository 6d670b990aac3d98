"""What knows nothing of networks: lazy imports, lookup by name, checked values, files, YAML, pictures."""
