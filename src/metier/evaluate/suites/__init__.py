"""Suites: what a model should still be able to do, and public benchmarks that the user has; base against tuned."""
