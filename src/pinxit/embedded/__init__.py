"""What comes with the package: street layouts drawn for it, and small models: of CamVid streets, and of fruits."""
