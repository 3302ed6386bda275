"""Search for a compact classifier: the space, what a trial costs, the search, and its Pareto front."""
