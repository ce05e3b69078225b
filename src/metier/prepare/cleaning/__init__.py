"""Cleaning, a module a rule family: texts repaired, rows dropped that teach nothing, doubts only flagged."""
