"""A row becomes tokens and label weights here, once, for training, evaluation and serving alike. Imports no torch."""
