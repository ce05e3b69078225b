"""Was it right, and how sure are we: metrics on pairs of texts and paired statistics. Imports no torch."""
