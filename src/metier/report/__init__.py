"""One Report value, three faces: terminal, Markdown, one self-contained HTML file. Imports no torch."""
