"""Wire formats: request bodies and answers of each API family."""
