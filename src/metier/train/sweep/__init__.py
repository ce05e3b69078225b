"""Search settings by successive halving on the validation loss."""
