"""Speed, memory and outcome against other trainers: run from the repository's root as `python -m bench.<name>`."""
