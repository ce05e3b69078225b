"""Training rows that hold what the model is judged on: the project's own test, and benchmarks that the user names."""
