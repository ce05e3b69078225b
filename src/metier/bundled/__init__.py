"""What comes in the package: the tiny base model and the example project."""
