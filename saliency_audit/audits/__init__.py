"""The use-cases: combine the nouns, yield rows batch by batch, print nothing."""
