"""What a student learns from: queries, documents, groups, augmented texts, batches."""
