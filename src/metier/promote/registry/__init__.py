"""A version: what was trained with all the evidence for it, signed, under a number that is never used again."""
