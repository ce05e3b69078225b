"""Prove the forest engine on the user's own model and rows: what it computes is what the plain way computes."""
