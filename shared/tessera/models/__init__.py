"""Model families: sizes, registry, modules and their Hugging Face form."""
