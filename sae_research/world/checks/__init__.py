"""What a finished world must show, measured."""
