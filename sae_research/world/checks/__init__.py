"""The bars that a finished world has to meet, measured."""
