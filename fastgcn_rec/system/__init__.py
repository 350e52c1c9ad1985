"""What is asked of the machine: files, memory, signals, processes, progress."""
