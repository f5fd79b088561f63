"""What we sell: models, offers, prices, names."""
