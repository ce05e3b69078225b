"""A base model: found, loaded safely, adapted, merged, saved. `find` and `settings` import no torch; the rest does."""
