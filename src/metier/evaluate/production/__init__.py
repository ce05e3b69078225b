"""What the models need in production: time, memory, money."""
