"""What is computed from a graph without learning: PageRank, singular vectors, smoothing, and solvers."""
