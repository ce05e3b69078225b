"""Values every room speaks: errors, rows, settings, artefacts, seeds. Imports no torch and no other room."""
