"""How the shipped model was made: data, tokenizer, training."""
