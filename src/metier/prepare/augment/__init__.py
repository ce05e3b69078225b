"""More training rows out of those that are there, by rule and without a model."""
