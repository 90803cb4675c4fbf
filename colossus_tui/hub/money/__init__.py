"""Money: the site's prices, what runs have cost, and GPUs that cost and do no work."""
