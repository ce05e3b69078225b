"""New training rows from a larger model, the teacher: asked for by recipes, paid once, filtered, marked."""
