"""Sentences as tensors: frozen encoders by name or folder, published embeddings, and a small encoder of our own."""
