"""Advise: what a prompt, retrieval, a plain classifier and a quick fine-tune score on the user's own rows, measured.

Nothing is guessed from words in the task: what was not measured is listed as that, with its reason.
"""
