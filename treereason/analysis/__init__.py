"""What recorded runs tell without a model: comparisons, other choices and scores, pages and exports."""
