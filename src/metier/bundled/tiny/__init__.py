"""The bundled base: a small Llama made by this project, and the recipe that made it."""
