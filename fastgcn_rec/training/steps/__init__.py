"""How a training takes its steps: one interface, one file for each way, and the choice of the fastest one."""
