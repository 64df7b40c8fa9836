"""The explorer: a static page on all results, and the packed data that it loads on demand."""
