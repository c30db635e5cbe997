"""Who computes in the next step: branches, prompts, given texts, and the scheduler that picks among them."""
