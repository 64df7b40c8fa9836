"""Is an SAE healthy? Five questions, each with a number, thresholds and a verdict."""
