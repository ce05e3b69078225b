"""`python -m metier`."""

from metier.cli.app import main

main()
