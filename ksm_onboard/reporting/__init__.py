"""Documents for people: the hand-over protocol and the network plan."""
