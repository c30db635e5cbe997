"""The small model with attention spans that comes with treereason, as files for transformers' from_pretrained."""
