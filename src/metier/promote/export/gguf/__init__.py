"""llama.cpp's file format: whole models and LoRA adapters, written through the `gguf` library."""
