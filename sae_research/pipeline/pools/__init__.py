"""Where jobs are done: in this process, or by the workers of a Ray cluster."""
