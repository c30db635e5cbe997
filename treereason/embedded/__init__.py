"""The small model that comes with treereason, as files for transformers' from_pretrained."""
