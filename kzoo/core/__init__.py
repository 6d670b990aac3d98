"""General utilities: lazy imports, lookup by name, range checks, files, YAML, figures, citations."""
