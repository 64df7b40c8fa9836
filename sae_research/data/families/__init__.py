"""One file per family of labelled data sets."""
