"""The software depot: media checked against the catalogue, made into one signed publication that depots serve."""
