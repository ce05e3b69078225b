"""Models behind HTTP, asked what the trained one was asked: our own server, and llama.cpp's."""
