"""Problems made on the fly, and the measures that score them."""
