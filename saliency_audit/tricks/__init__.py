"""Model manipulations that keep every prediction: one a file, one line here."""
