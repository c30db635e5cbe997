"""The token forest, its pages, and which of them are evicted."""
