"""Graders: what else an answer is measured by, chosen in `evaluate.graders`; OpenAI's are read as they are."""
