"""Choosing a base: what there is, what each is, what its licence asks, what it would take, what it scores untrained."""
