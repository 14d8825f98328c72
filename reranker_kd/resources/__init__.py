"""What comes with the package: the sample collection's builder, its topics and qrels, packaged models."""
