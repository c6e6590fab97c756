"""What comes with the package: street layouts drawn for it, and a small SPADE model of CamVid streets."""
