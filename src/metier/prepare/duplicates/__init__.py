"""Rows that say the same: exactly, nearly or in other words; which of them stays."""
