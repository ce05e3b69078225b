"""Families of generated instruction tasks; every answer is computed, never guessed."""
