"""How the bundled base model `metier-tiny` is made: tokenizer, instruction rows, corpus and measurements."""
