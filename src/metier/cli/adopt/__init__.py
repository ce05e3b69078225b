"""Projects out of the configurations of other trainers: what is carried over, what is not, and why."""
