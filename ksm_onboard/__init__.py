"""Onboards whole administrations into KSM's shared data centre, from one declaration per member."""
