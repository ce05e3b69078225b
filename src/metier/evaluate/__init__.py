"""Base and tuned on the same held-out rows, compared in pairs, with what was lost beside what was won."""
