"""The text families of the embedded world, one file each."""
