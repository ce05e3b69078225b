"""One loop for every method: an objective, an iterator of batches, exact resume."""
