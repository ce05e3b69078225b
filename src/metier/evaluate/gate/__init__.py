"""The gate: whether a model is good enough to go on."""
