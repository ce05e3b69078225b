"""Probes: does the answer turn on who is spoken of, can a row command the model, what did it learn by heart."""
