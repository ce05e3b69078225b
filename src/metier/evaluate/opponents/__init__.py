"""Who else a model is compared with: the base, the base with a prompt, a model behind an endpoint; asked on demand."""
