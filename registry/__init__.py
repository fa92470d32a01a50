"""The model store: names, manifests, blobs, GGUF files, Modelfiles and templates."""
