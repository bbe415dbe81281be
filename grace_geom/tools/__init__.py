"""Tools that make what the package ships; nothing here is needed to train, evaluate or analyse."""
