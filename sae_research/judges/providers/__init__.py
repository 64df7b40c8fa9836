"""Who judges, one provider a file: `make(model, judging, ...)` returns a `Judge`."""
