"""One training run: data, objective, steps, metrics, committed versions."""
