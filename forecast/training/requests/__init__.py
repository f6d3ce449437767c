"""What callers ask of training and backtests, read and checked; and the data they keep here."""
