"""Decoding: prompts in, completions out."""
