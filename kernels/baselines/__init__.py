"""What tree attention is compared with: DeFT's ways to cut a forest, and attention that reads every path alone."""
