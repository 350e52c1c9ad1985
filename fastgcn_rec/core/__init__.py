"""The ground: the door to the kernels, the graph, ids, and checks of arguments."""
