"""Models in Hugging Face's form, both ways: configs, names and layout of tensors, files."""
