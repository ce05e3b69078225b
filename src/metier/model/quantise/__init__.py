"""A frozen base in fewer bits, for adapters that train beside it."""
