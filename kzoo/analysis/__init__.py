"""Analysis of networks: visualization, robustness, diagrams, benchmarks, comparisons."""
