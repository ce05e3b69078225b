"""Cleaning, one small module a rule family: repair of texts, rows that teach nothing, and second looks that only flag."""
