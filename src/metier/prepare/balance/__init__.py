"""How often the training rows are trained on, how much each weighs, and in which order they come."""
