"""How the small model with attention spans was made: tokenizer, data, training, measurements."""
