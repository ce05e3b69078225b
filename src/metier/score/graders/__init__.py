"""Graders: what an answer is measured by, chosen in settings; OpenAI's are read as they are."""
