"""Files and tables in memory to `Interactions`: what form they have, which columns are what, and the values."""
